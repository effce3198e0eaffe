/* All memory of a tape: the one call to its allocator, and the arenas on top. */
#include <string.h>

#include "tape.h"

enum { FIRST_CHUNK = 1 << 16, LARGE_CHUNK = 1 << 26, CHUNK_HEADER = KERNEL_ALIGN };

_Static_assert(sizeof(struct chunk) <= CHUNK_HEADER,
               "a chunk's header fits before its first block");

void *out_of_memory(ag_tape *tape, size_t size)
{
    ag_fail(tape, "out of memory: %zu bytes asked for, %zu held", size, tape->bytes);
    return NULL;
}

void *tape_try(ag_tape *tape, void *block, size_t old_size, size_t size)
{
    if (!block && !size)
        return NULL;
    void *result = tape->allocator(tape->allocator_context, block, old_size, size);
    if (result || !size)
        tape->bytes += size - old_size;
    return result;
}

void *tape_realloc(ag_tape *tape, void *block, size_t old_size, size_t size)
{
    void *result = tape_try(tape, block, old_size, size);
    return result || !size ? result : out_of_memory(tape, size);
}

void *tape_grow(ag_tape *tape, void *array, uint32_t *capacity, size_t element)
{
    uint32_t more = *capacity ? 2 * *capacity : 64;
    void *result = tape_realloc(tape, array, *capacity * element, more * element);
    if (result)
        *capacity = more;
    return result;
}

static void use_chunk(struct arena *arena, struct chunk *chunk)
{
    arena->current = chunk;
    arena->free = (char *)aligned((uintptr_t)chunk + CHUNK_HEADER);
    arena->end = (char *)chunk + chunk->size;
}

/* Chunks double, so a tape of any length has few of them, but never ask for much more than is
 * needed. */
static struct chunk *new_chunk(ag_tape *tape, const struct arena *arena, size_t size)
{
    size_t least = arena->current ? 2 * arena->current->size : FIRST_CHUNK;
    least = least < LARGE_CHUNK ? least : LARGE_CHUNK;
    size_t whole = size + CHUNK_HEADER + KERNEL_ALIGN;
    struct chunk *chunk = tape_realloc(tape, NULL, 0, whole > least ? whole : least);
    if (chunk)
        *chunk = (struct chunk){.size = whole > least ? whole : least};
    return chunk;
}

void *arena_grow(ag_tape *tape, struct arena *arena, size_t size)
{
    do {
        struct chunk **next = arena->current ? &arena->current->next : &arena->first;
        if (!*next && !(*next = new_chunk(tape, arena, size)))
            return NULL;
        use_chunk(arena, *next);
    } while (size > (size_t)(arena->end - arena->free));
    void *block = arena->free;
    arena->free += size;
    return block;
}

void arena_rewind(struct arena *arena)
{
    if (arena->first)
        use_chunk(arena, arena->first);
}

void arena_move(struct arena *arena, char *to)
{
    while ((size_t)(to - (char *)arena->current) > arena->current->size)
        use_chunk(arena, arena->current->next);
    arena->free = to;
}

void arena_free(ag_tape *tape, struct arena *arena)
{
    for (struct chunk *chunk = arena->first, *next; chunk; chunk = next) {
        next = chunk->next;
        tape_realloc(tape, chunk, chunk->size, 0);
    }
    *arena = (struct arena){0};
}

const char *arena_string(ag_tape *tape, struct arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = arena_allocate(tape, arena, size);
    return copy ? memcpy(copy, text, size) : NULL;
}

bool scratch_try(ag_tape *tape, struct scratch *scratch, size_t size)
{
    if (size <= scratch->size)
        return true;
    char *memory = tape_try(tape, NULL, 0, size + KERNEL_ALIGN);
    if (!memory)
        return false;
    scratch_free(tape, scratch);
    *scratch =
        (struct scratch){.memory = memory, .at = (char *)aligned((uintptr_t)memory), .size = size};
    return true;
}

bool scratch_grow(ag_tape *tape, struct scratch *scratch, size_t size)
{
    return scratch_try(tape, scratch, size) || out_of_memory(tape, size);
}

void scratch_free(ag_tape *tape, struct scratch *scratch)
{
    if (scratch->memory)
        tape_try(tape, scratch->memory, scratch->size + KERNEL_ALIGN, 0);
    *scratch = (struct scratch){0};
}
