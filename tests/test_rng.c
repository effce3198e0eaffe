/* The generator: known answers, worked out from the papers with Python's integers (and mpmath for
 * the quantiles), and the properties that the header promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/rng.h"

/* A generator whose next output is x. */
static ag_rng about_to_give(uint64_t x)
{
    return (ag_rng){{0, 1, 2, (x >> 23) | (x << 41)}};
}

static void test_seed_is_splitmix64(void **state)
{
    (void)state;
    ag_rng rng;
    ag_rng_seed(&rng, 1234567);
    assert_true(rng.state[0] == 6457827717110365317u);
    assert_true(rng.state[1] == 3203168211198807973u);
    assert_true(rng.state[2] == 9817491932198370423u);
    assert_true(rng.state[3] == 4593380528125082431u);
}

static void test_next_is_xoshiro256pp(void **state)
{
    (void)state;
    static const uint64_t expected[] = {0x2800001,          0x3800067,          0xcc00003800067,
                                        0xcc201994400b2,    0x8012a2019ac433cd, 0x8a69978acdee33ba,
                                        0xc271134733154abd, 0xac2ba09179169e97, 0xdbf3190a8f073fd8,
                                        0x9105f14ab2229220};
    ag_rng rng = {{1, 2, 3, 4}};
    for (size_t i = 0; i < 10; i++)
        assert_true(ag_rng_next(&rng) == expected[i]);

    static const uint64_t seeded[] = {0xd0764d4f4476689f, 0x519e4174576f3791, 0xfbe07cfb0c24ed8c,
                                      0xb37d9f600cd835b8, 0xcb231c3874846a73, 0x968d9f004e50de7d};
    ag_rng_seed(&rng, 42);
    for (size_t i = 0; i < 6; i++)
        assert_true(ag_rng_next(&rng) == seeded[i]);
}

static void test_uniform(void **state)
{
    (void)state;
    static const double expected[] = {0x1.a0ec9a9e88ecdp-1, 0x1.467905d15dbccp-2,
                                      0x1.f7c0f9f61849dp-1, 0x1.66fb3ec019b06p-1};
    ag_rng rng;
    ag_rng_seed(&rng, 42);
    for (size_t i = 0; i < 4; i++)
        assert_true(ag_rng_uniform(&rng) == expected[i]);

    rng = about_to_give(0);
    assert_true(ag_rng_uniform(&rng) == 0.0);
    rng = about_to_give(UINT64_MAX);
    assert_true(ag_rng_uniform(&rng) == 1.0 - 0x1p-53);

    enum { N = 1000000 };
    double sum = 0, squares = 0;
    for (int i = 0; i < N; i++) {
        double d = ag_rng_uniform(&rng) - 0.5;
        sum += d;
        squares += d * d;
    }
    assert_true(fabs(sum / N) < 5 * sqrt(1.0 / 12 / N));
    assert_true(fabs(squares / N - 1.0 / 12) < 5 * sqrt(1.0 / 180 / N));
}

static void test_below(void **state)
{
    (void)state;
    static const uint64_t small[] = {8, 3, 9, 7, 7, 5, 1, 6, 2, 9, 5, 8, 6, 0, 4, 5, 2, 0, 5, 4};
    static const uint64_t large[] = {0x434374c0f302550e, 0xad0583eac1d240f,  0x518c222e89df4190,
                                     0x5c14999d114ebd1c, 0x7dfb3655ac62e70c, 0x64f57040bdf61ceb};
    ag_rng rng;
    ag_rng_seed(&rng, 42);
    for (size_t i = 0; i < 20; i++)
        assert_true(ag_rng_below(&rng, 10) == small[i]);
    for (size_t i = 0; i < 6; i++)
        assert_true(ag_rng_below(&rng, ((uint64_t)1 << 63) + 1) == large[i]);

    assert_true(ag_rng_below(&rng, 0) == 0);
    assert_true(ag_rng_below(&rng, 1) == 0);
    rng = about_to_give(UINT64_MAX);
    assert_true(ag_rng_below(&rng, UINT64_MAX) == UINT64_MAX - 1);
}

/* For n = 3/4 of 2^64, draw * n without rejection would give the multiples of 3 half of the time.
 */
static void test_below_is_unbiased(void **state)
{
    (void)state;
    enum { N = 300000 };
    ag_rng rng;
    ag_rng_seed(&rng, 1);
    int thirds[3] = {0}, tenths[10] = {0};
    for (int i = 0; i < N; i++) {
        thirds[ag_rng_below(&rng, (uint64_t)3 << 62) % 3]++;
        tenths[ag_rng_below(&rng, 10)]++;
    }
    for (int i = 0; i < 3; i++)
        assert_true(abs(thirds[i] - N / 3) < 5 * 259); /* 259 = sqrt(N 1/3 2/3) */
    for (int i = 0; i < 10; i++)
        assert_true(abs(tenths[i] - N / 10) < 5 * 165); /* 165 = sqrt(N 1/10 9/10) */
}

static void test_shuffle(void **state)
{
    (void)state;
    static const uint32_t expected[] = {7, 1, 2, 5, 10, 0, 4, 8, 6, 11, 3, 9};
    uint32_t items[1000];
    for (uint32_t i = 0; i < 1000; i++)
        items[i] = i;
    ag_rng rng;
    ag_rng_seed(&rng, 42);
    ag_rng_shuffle(&rng, items, 12);
    assert_memory_equal(items, expected, sizeof expected);

    ag_rng_shuffle(&rng, items, 1000);
    int seen[1000] = {0};
    for (int i = 0; i < 1000; i++)
        seen[items[i]]++;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(seen[i], 1);

    ag_rng before = rng;
    ag_rng_shuffle(&rng, items, 1);
    ag_rng_shuffle(&rng, NULL, 0);
    assert_memory_equal(&rng, &before, sizeof rng);
}

static void test_shuffle_gives_every_order_alike(void **state)
{
    (void)state;
    enum { N = 60000 };
    ag_rng rng;
    ag_rng_seed(&rng, 5);
    int orders[9] = {0};
    for (int i = 0; i < N; i++) {
        uint32_t items[] = {0, 1, 2};
        ag_rng_shuffle(&rng, items, 3);
        orders[3 * items[0] + items[1]]++;
    }
    for (int i = 0; i < 9; i++)
        assert_true(i % 4 == 0 ? orders[i] == 0 : abs(orders[i] - N / 6) < 5 * 92);
}

static void test_normal_is_the_exact_quantile(void **state)
{
    (void)state;
    static const struct {
        uint64_t k; /* u = (k + 1/2) / 2^52 */
        double quantile;
    } cases[] = {{0, -8.2095361516013868556},
                 {1, -8.0765710041301246502},
                 {2, -8.0140159487755456483},
                 {12345, -6.892487701380117026},
                 {0xf452, -6.6579028543204812886},
                 {0x100000, -6.2302600632894787267},
                 {0x800000007, -4.3249190407779275206},
                 {0x10000000000, -3.4871041041143094916},
                 {0x100000000000, -2.6600674686174500861},
                 {0xcccccccccccc, -1.6448536269514733607},
                 {0x1333226c3b927, -1.4395385353452311785}, /* u = 0.075: centre and tail meet */
                 {0x133334e0b25cd, -1.4395307645017303728},
                 {0x4000000000000, -0.67448975019608139383},
                 {0x7ffffffffffff, -2.7829164246717669222e-16},
                 {0x8000000000000, 2.7829164246717669222e-16},
                 {0x9999999999999, 0.25334710313579974132},
                 {0xee147ae147ae1, 1.475791028179171099},
                 {0xfffffc0000000, 5.0354059695531213273},
                 {0xfffffffffffff, 8.2095361516013868556}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ag_rng rng = about_to_give(cases[i].k << 12);
        double z = ag_rng_normal(&rng), exact = cases[i].quantile;
        assert_true(fabs(z - exact) <= 1e-15 * fabs(exact));
    }
}

/* One wrong bit in the first million would change the hash (FNV-1a over 64-bit words), which a
 * second implementation, in Python, gave. */
static void test_normal_has_the_same_bits_everywhere(void **state)
{
    (void)state;
    enum { N = 1000000 };
    ag_rng rng;
    ag_rng_seed(&rng, 0);
    uint64_t hash = 0xcbf29ce484222325;
    double moments[4] = {0};
    for (int i = 0; i < N; i++) {
        double z = ag_rng_normal(&rng), power = 1;
        uint64_t bits;
        memcpy(&bits, &z, sizeof bits);
        hash = (hash ^ bits) * 0x100000001b3;
        for (int k = 0; k < 4; k++)
            moments[k] += (power *= z) / N;
    }
    assert_true(hash == 0xe3c570b8a5500fe1);
    static const double expected[] = {0, 1, 0, 3}, variance[] = {1, 2, 15, 96};
    for (int k = 0; k < 4; k++)
        assert_true(fabs(moments[k] - expected[k]) < 5 * sqrt(variance[k] / N));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seed_is_splitmix64),
        cmocka_unit_test(test_next_is_xoshiro256pp),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_below_is_unbiased),
        cmocka_unit_test(test_shuffle),
        cmocka_unit_test(test_shuffle_gives_every_order_alike),
        cmocka_unit_test(test_normal_is_the_exact_quantile),
        cmocka_unit_test(test_normal_has_the_same_bits_everywhere),
    };
    return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
