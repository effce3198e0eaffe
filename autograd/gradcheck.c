/* The gradient checker: signed central differences by replaying the forward part of the tape. */
#include <float.h>
#include <math.h>

#include "ops/ops.h"

static double value_at(ag_tensor y)
{
    run_range(y.tape, 1, y.index & LASTING ? 1 : y.index + 1);
    return *(const double *)find(y)->data;
}

/* (y(p + h) - y(p - h)) / 2h; h is the cube root of the precision, where truncation and rounding
 * errors balance. The values are then run back to what they were: a gradient may be one of them, as
 * that of exp is. */
static double central_difference(ag_tensor y, double *p)
{
    double old = *p, h = cbrt(DBL_EPSILON) * fmax(1.0, fabs(old));
    volatile double above = old + h, below = old - h;
    *p = above;
    double y_above = value_at(y);
    *p = below;
    double y_below = value_at(y);
    *p = old;
    value_at(y);
    return (y_above - y_below) / (above - below);
}

/* Checks every element of one parameter; returns whether any gradient of it is not zero. */
static bool check_parameter(ag_tensor y, ag_tensor parameter, ag_gradcheck_report *worst)
{
    const struct record *p = find(parameter);
    bool any = false;
    for (int64_t i = 0; i < p->count; i++) {
        double numeric = central_difference(y, (double *)p->data + i);
        double analytic = ag_has_gradient(parameter) ? ag_data_f64(ag_gradient(parameter))[i] : 0.0;
        double scale = fmax(1.0, fmax(fabs(analytic), fabs(numeric)));
        double error = fabs(analytic - numeric) / scale;
        any = any || analytic != 0.0 || numeric != 0.0;
        if (error > worst->error || !isfinite(error) || !worst->name)
            *worst = (ag_gradcheck_report){
                p->name ? p->name : "", i, position_of(i, &p->shape), analytic, numeric, error};
        if (!isfinite(error))
            return any;
    }
    return any;
}

bool ag_gradcheck(ag_tensor y, double tolerance, ag_gradcheck_report *report)
{
    ag_gradcheck_report worst = {0};
    const struct record *r = resolve(y, "gradcheck");
    bool any = false;
    if (report)
        *report = worst;
    if (r && y.tape->dtype != AG_F64)
        ag_fail(y.tape, "gradcheck: differences of float32 say little; make the tape AG_F64");
    if (!r || !ag_backward(y))
        return false;
    bool tracing = y.tape->tracing;
    run_pending(y.tape);
    y.tape->checking = true;
    y.tape->tracing = false; /* what a nudge makes infinite is for the report to tell */
    for (size_t i = 0; i < ag_parameter_count(y.tape) && isfinite(worst.error); i++) {
        ag_tensor parameter = ag_parameter_at(y.tape, i);
        if (find(parameter)->trainable && check_parameter(y, parameter, &worst))
            any = true;
    }
    y.tape->checking = false;
    y.tape->tracing = tracing;
    if (report)
        *report = worst;
    return any && !y.tape->failed && worst.error <= tolerance;
}
