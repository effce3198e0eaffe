/* Shapes: checking, comparing, broadcasting, printing. Shapes are compared, never element counts.
 */
#include <string.h>

#include "tape.h"

bool shape_check(ag_tape *tape, const char *who, ag_shape shape)
{
    if (shape.rank < 0 || shape.rank > AG_MAX_RANK)
        return fault(tape, "%s: a shape has 0 to %d dimensions, not %d", who, AG_MAX_RANK,
                     shape.rank);
    int64_t room = PTRDIFF_MAX / 16;
    for (int i = 0; i < shape.rank; i++) {
        if (shape.dim[i] < 1)
            return fault(tape,
                         "%s: axis %d has size %lld; every size must be at least 1, but the shape "
                         "asked for is %s",
                         who, i, (long long)shape.dim[i], shape_words(&shape).at);
        room /= shape.dim[i];
        if (!room)
            return fault(tape, "%s: shape %s has more elements than memory can hold", who,
                         shape_words(&shape).at);
    }
    return true;
}

struct shape_words shape_words(const ag_shape *shape)
{
    struct shape_words words;
    struct text text = {.at = words.at, .size = sizeof words.at};
    text_add(&text, "(");
    for (int i = 0; i < shape->rank; i++)
        text_add(&text, i ? ", %lld" : "%lld", (long long)shape->dim[i]);
    text_add(&text, shape->rank == 1 ? ",)" : ")");
    return words;
}

ag_shape position_of(int64_t element, const ag_shape *shape)
{
    ag_shape position = *shape;
    for (int i = shape->rank - 1; i >= 0; i--) {
        position.dim[i] = element % shape->dim[i];
        element /= shape->dim[i];
    }
    return position;
}

/* The size of axis `i` of the broadcast shape of rank `rank`: missing leading axes count as 1. */
static int64_t aligned_dim(const ag_shape *shape, int rank, int i)
{
    int own = i - (rank - shape->rank);
    return own < 0 ? 1 : shape->dim[own];
}

bool shape_broadcast(const ag_shape *a, const ag_shape *b, ag_shape *result)
{
    result->rank = a->rank > b->rank ? a->rank : b->rank;
    for (int i = 0; i < result->rank; i++) {
        int64_t da = aligned_dim(a, result->rank, i), db = aligned_dim(b, result->rank, i);
        if (da != db && da != 1 && db != 1)
            return false;
        result->dim[i] = da == 1 ? db : da;
    }
    return true;
}
