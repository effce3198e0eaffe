#define _DEFAULT_SOURCE /* setenv, popen beside plain C11 */
#include "words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void set_locale(const char *name)
{
    setenv("LC_ALL", name, 1);
}

char *text_of_file(FILE *file)
{
    long size = ftell(file);
    char *text = calloc((size_t)size + 1, 1);
    assert_non_null(text);
    rewind(file);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    fclose(file);
    return text;
}

char *explained(ag_tape *tape, unsigned what)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    ag_explain(tape, file, what);
    return text_of_file(file);
}

char *drawn(ag_tape *tape, bool backward)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    ag_dot(tape, file, backward);
    return text_of_file(file);
}

static void fault(const char *line, int length, const char *what)
{
    print_error("%s: %.*s\n", what, length, line);
    fail();
}

static void check_line(const char *line, int length, bool ascii)
{
    int depth = 0, spaces = 0;
    for (int i = 0; i < length; i++) {
        depth += (line[i] == '(') - (line[i] == ')');
        spaces += line[i] == ' ';
        if (depth < 0 || line[i] == '$' || (unsigned char)line[i] < ' ' ||
            (ascii && (unsigned char)line[i] > '~'))
            fault(line, length, "not in order");
    }
    bool formula = length > 2 && !strncmp(line, "  ", 2);
    if (depth || length > 200 || line[length - 1] == ' ')
        fault(line, length, "parentheses, length or a space at the end");
    if (formula && (!strstr(line, " = ") || strstr(line, " = ") > line + length))
        fault(line, length, "not a formula");
    if (!formula && strncmp(line, "forward", 7) != 0 && strncmp(line, "backward from ", 14) != 0)
        fault(line, length, "not a heading");
    if (memchr(line, '?', (size_t)length) || spaces == length)
        fault(line, length, "something is missing");
}

void assert_good_words(const char *text, bool ascii)
{
    assert_true(*text);
    assert_null(strstr(text, "(null)"));
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        assert_non_null(strchr(line, '\n'));
        check_line(line, (int)strcspn(line, "\n"), ascii);
    }
}

/* Is `name`, up to a space, the beginning of a line that declares a node? */
static bool declared(const char *text, const char *name)
{
    char start[32];
    snprintf(start, sizeof start, "    %.*s [label=<", (int)strcspn(name, " "), name);
    return strstr(text, start) != NULL;
}

void assert_good_graph(const char *text)
{
    assert_false(strncmp(text, "digraph tape {\n", 15));
    assert_null(strstr(text, "(null)"));
    int depth = 0;
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        const char *end = strchr(line, '\n'), *arrow = strstr(line, " -> ");
        assert_non_null(end);
        depth += end[-1] == '{' || strstr(line, " { ") == line + strcspn(line, "{\n") - 1;
        depth -= end[-1] == '}';
        if (!arrow || arrow > end)
            continue;
        if (!declared(text, line + 4) || !declared(text, arrow + 4))
            fault(line, (int)(end - line), "an edge to nowhere");
    }
    assert_int_equal(depth, 0);
}

void assert_graphviz_reads(const char *graphs)
{
    char answer[512] = "";
    if (system("command -v dot > /dev/null 2>&1") != 0)
        return;
    char path[] = "/tmp/tapegrad_words_XXXXXX", command[128];
    int descriptor = mkstemp(path);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "w");
    assert_non_null(file);
    fputs(graphs, file);
    fclose(file);
    snprintf(command, sizeof command, "dot -Tcanon %s 2>&1 > /dev/null && echo fine", path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    answer[fread(answer, 1, sizeof answer - 1, pipe)] = '\0';
    pclose(pipe);
    remove(path);
    assert_string_equal(answer, "fine\n");
}
