/* IDX, the format of MNIST's files (http://yann.lecun.com/exdb/mnist), plain or gzip: two zero
 * bytes, a type, the number of dimensions, each as four bytes, and the elements; all big-endian. */
#include "bytes.h"

static bool parse_plain(nn_array *array, ag_dtype dtype, const unsigned char *bytes, size_t size,
                        const struct nn_source *source)
{
    static const struct nn_element types[] = {
        {'u', 1, true}, {'i', 1, true}, {0, 0, true},   {'i', 2, true},
        {'i', 4, true}, {'f', 4, true}, {'f', 8, true},
    }; /* 0x08 ... 0x0e */
    ag_shape shape = {0};
    char text[NN_SHAPE_TEXT];
    size_t wanted;
    if (size < 4 || bytes[0] || bytes[1])
        return nn_refuse(source, "not an IDX file: it does not begin with two zero bytes");
    unsigned type = bytes[2] - 8u;
    if (type > 6 || !types[type].size)
        return nn_refuse(source, "IDX has no type 0x%02x", bytes[2]);
    if (bytes[3] > AG_MAX_RANK)
        return nn_refuse(source, "%d dimensions; at most 8 are read", bytes[3]);
    size_t header = 4 + 4 * (size_t)bytes[3];
    if (size < header)
        return nn_refuse(source, "the file ends within its IDX header; is it cut?");
    for (shape.rank = 0; shape.rank < bytes[3]; shape.rank++)
        shape.dim[shape.rank] = (int64_t)nn_integer_at(bytes + 4 + 4 * shape.rank, 4, true);
    if (!nn_shape_bytes(&shape, types[type].size, &wanted) || wanted != size - header)
        return nn_refuse(source, "%zu bytes of data do not fit the shape %s; is the file cut?",
                         size - header, nn_shape_print(text, &shape));
    return nn_array_decode(array, dtype, &shape, &types[type], bytes + header, false, source);
}

bool nn_idx_parse(nn_array *array, ag_dtype dtype, const char *name, const void *data, size_t size,
                  nn_error *error)
{
    const unsigned char *bytes = data;
    const struct nn_source source = {name, error};
    if (!nn_given(error, "idx_parse", array))
        return false;
    if (!bytes || size < 2 || bytes[0] != 0x1f || bytes[1] != 0x8b)
        return parse_plain(array, dtype, bytes, bytes ? size : 0, &source);
    struct nn_bytes plain = {0};
    const char *problem = nn_gunzip(&plain, bytes, size);
    bool good = problem ? nn_refuse(&source, "gzip: %s", problem)
                        : parse_plain(array, dtype, plain.at, plain.size, &source);
    nn_bytes_free(&plain);
    return good;
}

bool nn_idx_read(nn_array *array, ag_dtype dtype, const char *path, nn_error *error)
{
    return nn_array_read(array, dtype, path, nn_idx_parse, error);
}
