/* What the printers print, as text, and checks of its form. */
#ifndef TAPEGRAD_WORDS_H
#define TAPEGRAD_WORDS_H

#include "autograd/autograd.h"

/* Sets what the printers look at: "C" or "C.UTF-8", say. */
void set_locale(const char *name);

/* To be freed; "" when the printer fails. */
char *explained(ag_tape *tape, unsigned what);
char *drawn(ag_tape *tape, bool backward);

/* Reads a file from its beginning; to be freed. */
char *text_of_file(FILE *file);

/* Fails the test unless every line is a heading, empty or a formula that a reader can take. */
void assert_good_words(const char *text, bool ascii);

/* Fails the test unless it is a graph whose edges join nodes that are there. */
void assert_good_graph(const char *text);

/* Has Graphviz read these graphs, if it is installed; fails the test when it finds fault. */
void assert_graphviz_reads(const char *graphs);

#endif
