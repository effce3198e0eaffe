/* The tiles of one vector width, WIDTH elements: a template, included once for each width.
 *
 * A tile is a piece of C held in registers while k runs, `rows` high and `vecs` vectors wide. The
 * last vector may stand anywhere, so that it ends with the last column; where it overlaps the one
 * before, both hold the same values. All of C is read before any is written, for the same reason.
 */

#define TILE_JOIN_(name, width) name##_##width
#define TILE_JOIN(name, width)  TILE_JOIN_(name, width)
#define T(name)                 TILE_JOIN(name, WIDTH)

#if WIDTH == 1
typedef real T(lanes);
#else
typedef real T(lanes) __attribute__((vector_size(WIDTH * sizeof(real))));
#endif

/* Where the vector j of a row is, in bytes. */
#define PLACE(j, last) ((j) + 1 < vecs ? (j) * sizeof(T(lanes)) : (last))

__attribute__((always_inline)) static inline void T(tile)(const struct tile *t, const size_t rows,
                                                          const size_t vecs)
{
    const char *a = t->a, *b = t->b, *bias = t->bias;
    const size_t a_row = t->a_row, a_col = t->a_col, b_row = t->b_row, b_last = t->b_last;
    T(lanes) sum[TILE_ROWS][SINGLE_VECS], x[SINGLE_VECS];
    foreach (i, rows)
        foreach (j, vecs)
            sum[i][j] = (T(lanes)){0};
    for (size_t p = t->k; p > 0; p--, a += a_col, b += b_row) {
        /* the shorter side stays in registers */
        if (rows < vecs) {
            real y[TILE_ROWS];
            foreach (i, rows)
                memcpy(&y[i], a + i * a_row, sizeof *y);
            foreach (j, vecs) {
                memcpy(x, b + PLACE(j, b_last), sizeof *x);
                foreach (i, rows)
                    sum[i][j] += y[i] * x[0];
            }
        } else {
            foreach (j, vecs)
                memcpy(&x[j], b + PLACE(j, b_last), sizeof *x);
            foreach (i, rows) {
                real y;
                memcpy(&y, a + i * a_row, sizeof y);
                foreach (j, vecs)
                    sum[i][j] += y * x[j];
            }
        }
    }
    char *c = t->c;
    const size_t c_row = t->c_row, c_last = t->c_last;
    if (t->add)
        foreach (i, rows)
            foreach (j, vecs) {
                memcpy(&x[j], c + i * c_row + PLACE(j, c_last), sizeof *x);
                sum[i][j] = x[j] + sum[i][j];
            }
    if (bias)
        foreach (j, vecs) {
            memcpy(&x[j], bias + PLACE(j, c_last), sizeof *x);
            foreach (i, rows)
                sum[i][j] = sum[i][j] + x[j];
        }
    foreach (i, rows)
        foreach (j, vecs)
            memcpy(c + i * c_row + PLACE(j, c_last), &sum[i][j], sizeof *x);
}

#define USED(rows, vecs)                                                                           \
    (rows <= TILE_ROWS && (WIDTH < LANE_COUNT ? vecs == 2                                          \
                           : rows == 1        ? vecs <= SINGLE_VECS                                \
                                              : vecs <= TILE_VECS))
#define TILE(rows, vecs)                                                                           \
    static void T(tile_##rows##x##vecs)(const struct tile *t)                                      \
    {                                                                                              \
        if (USED(rows, vecs))                                                                      \
            T(tile)(t, rows, vecs);                                                                \
    }
#define TILES(rows)                                                                                \
    TILE(rows, 1)                                                                                  \
    TILE(rows, 2)                                                                                  \
    TILE(rows, 3)                                                                                  \
    TILE(rows, 4)                                                                                  \
    TILE(rows, 5)                                                                                  \
    TILE(rows, 6)                                                                                  \
    TILE(rows, 7)                                                                                  \
    TILE(rows, 8)
#define ENTRY(rows, vecs) USED(rows, vecs) ? T(tile_##rows##x##vecs) : NULL
#define ENTRIES(rows)                                                                              \
    {                                                                                              \
        ENTRY(rows, 1), ENTRY(rows, 2), ENTRY(rows, 3), ENTRY(rows, 4), ENTRY(rows, 5),            \
            ENTRY(rows, 6), ENTRY(rows, 7), ENTRY(rows, 8),                                        \
    }

TILES(1)
TILES(2)
TILES(3)
TILES(4)
TILES(5)
TILES(6)
TILES(7)
TILES(8)

/* [rows - 1][vecs - 1] */
static tile_function *const T(tiles)[8][8] = {ENTRIES(1), ENTRIES(2), ENTRIES(3), ENTRIES(4),
                                              ENTRIES(5), ENTRIES(6), ENTRIES(7), ENTRIES(8)};

#undef TILE
#undef TILES
#undef ENTRIES
#undef ENTRY
#undef USED
#undef PLACE
#undef T
#undef TILE_JOIN
#undef TILE_JOIN_
#undef WIDTH
