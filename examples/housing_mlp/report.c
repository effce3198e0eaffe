#include "report.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

static void append(char *text, size_t size, const char *format, ...) AG_PRINTF(3, 4);

static void append(char *text, size_t size, const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
}

void describe(char *text, size_t size, const struct options *o)
{
    snprintf(text, size, "%d", FEATURES);
    for (size_t i = 0; i < o->hidden_count; i++)
        append(text, size, "-%llu", (unsigned long long)o->hidden[i]);
    append(text, size, "-1 %s, %s %g, %s, ", activation_names[o->activation],
           optimizer_names[o->optimizer], o->rate, schedule_names[o->schedule]);
    if (o->schedule_epochs != o->epochs)
        append(text, size, "planned for %llu epochs, ", (unsigned long long)o->schedule_epochs);
    append(text, size, "batch %llu", (unsigned long long)o->batch);
}

/* Units of $100,000 as dollars: 0.5321 is $53,210. */
static void write_dollars(char *text, size_t size, double price)
{
    double dollars = round(price * 100000.0);
    if (fabs(dollars) >= 1e15) {
        snprintf(text, size, "$%.3g", dollars);
        return;
    }
    char digits[24];
    snprintf(digits, sizeof digits, "%.0f", fabs(dollars));
    snprintf(text, size, "%s$", dollars < 0.0 ? "-" : "");
    for (size_t i = 0, n = strlen(digits); i < n; i++)
        append(text, size, "%s%c", i && (n - i) % 3 == 0 ? "," : "", digits[i]);
}

void report_task(const struct trainer *t, const struct options *options)
{
    const nn_split *split = &t->houses->split;
    char text[200];
    describe(text, sizeof text, options);
    printf("data     %s: %zu rows: %zu training, %zu validation, %zu test\n",
           options->data ? options->data : "synthetic table (made up by a generator)",
           t->houses->table.rows, split->train_count, split->validation_count, split->test_count);
    if (t->houses->filled)
        printf("         %zu missing values filled with the training median\n", t->houses->filled);
    printf("network  %s, %llu epochs, seed %llu; %lld parameters\n", text,
           (unsigned long long)options->epochs, (unsigned long long)options->seed,
           (long long)nn_params_elements(t->params));
    puts("losses   root mean squared error in units of $100,000\n");
    fflush(stdout);
}

static void report_error(const char *part, double rmse)
{
    char dollars[32];
    write_dollars(dollars, sizeof dollars, rmse);
    printf("%-12s %10s %12.4f\n", part, dollars, rmse);
}

static void report_house(const struct houses *houses, size_t row, double predicted)
{
    double x[FEATURES];
    char price[32], prediction[32], difference[32];
    memcpy(x, houses->table.x + row * FEATURES, sizeof x);
    nn_scaler_invert(&houses->features, x, 1);
    write_dollars(price, sizeof price, houses_price(houses, row));
    write_dollars(prediction, sizeof prediction, predicted);
    write_dollars(difference, sizeof difference, predicted - houses_price(houses, row));
    printf("%6.2f, %7.2f %12s %12s %12s\n", x[LATITUDE], x[LONGITUDE], price, prediction,
           difference);
}

void report_results(const struct trainer *t, const struct results *r, const double *predicted)
{
    const nn_split *split = &t->houses->split;
    printf("%-12s %10s %12s\n", "RMSE", "dollars", "$100,000");
    report_error("training", r->train);
    report_error("validation", r->validation);
    report_error("test", r->test);
    printf("R\u00b2 of the test part: %.4f\n\n", r->r2);
    printf("%-15s %12s %12s %12s\n", "test house at", "price", "predicted", "difference");
    for (size_t i = 0; i < split->test_count && i < 5; i++)
        report_house(t->houses, split->test[i], predicted[i]);
    printf("\n%.2f seconds\n", r->seconds);
}

/* JSON has no NaN: null. Nine digits tell any two float32 apart. */
static void json_number(const char *key, double value)
{
    if (isfinite(value))
        printf("\"%s\": %.9g, ", key, value);
    else
        printf("\"%s\": null, ", key);
}

void report_json(const struct trainer *t, const struct options *o, const struct results *r)
{
    char network[200];
    describe(network, sizeof network, o);
    printf("{");
    json_number("test_rmse", r->test);
    json_number("val_rmse", r->validation);
    json_number("train_rmse", r->train);
    json_number("r2", r->r2);
    json_number("seconds", r->seconds);
    printf("\"epochs\": %llu, \"seed\": %llu, ", (unsigned long long)o->epochs,
           (unsigned long long)o->seed);
    printf("\"rows\": %zu, \"parameters\": %lld, \"synthetic\": %s, \"network\": \"%s\"}\n",
           t->houses->table.rows, (long long)nn_params_elements(t->params),
           o->data ? "false" : "true", network);
}
