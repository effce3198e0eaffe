/* Losses. Each is built so that nothing overflows or cancels at the extremes: no exp of what may be
 * large, no log of what may round to 0, no difference of two large numbers that are nearly equal.
 */
#include <math.h>

#include "bytes.h"
#include "nn.h"

static ag_tensor reduce(ag_tensor losses, nn_reduction reduction)
{
    if (reduction == NN_MEAN)
        return ag_mean(losses);
    if (reduction == NN_SUM)
        return ag_sum(losses);
    return ag_fail(losses.tape, "loss: %d is not a reduction: NN_MEAN or NN_SUM", (int)reduction);
}

/* True, with the error, when both are valid and target is not shaped like y without its last
 * `fewer` axes. (Broadcasting (n,) against (n, 1) would compare every prediction with every target;
 * what is not valid, the first op to meet it complains of.) */
static bool differ(const char *who, ag_tensor y, ag_tensor target, int fewer)
{
    char left[NN_SHAPE_TEXT], right[NN_SHAPE_TEXT];
    if (!ag_valid(y) || !ag_valid(target))
        return false;
    ag_shape a = ag_shape_of(y), b = ag_shape_of(target), same = a;
    same.rank -= fewer;
    if (nn_same_shape(&same, &b))
        return false;
    ag_fail(y.tape, "%s: predictions are %s and targets %s; they must have the same shape%s", who,
            nn_shape_print(left, &a), nn_shape_print(right, &b),
            fewer ? ", but for the last axis, which targets do not have" : "");
    return true;
}

ag_tensor nn_mse_loss(ag_tensor y, ag_tensor target, nn_reduction reduction)
{
    if (differ("mse_loss", y, target, 0))
        return (ag_tensor){.tape = y.tape};
    ag_tensor d = ag_sub(y, target);
    return reduction == NN_MEAN ? ag_mean_square(d) : reduce(ag_square(d), reduction);
}

ag_tensor nn_l1_loss(ag_tensor y, ag_tensor target, nn_reduction reduction)
{
    if (differ("l1_loss", y, target, 0))
        return (ag_tensor){.tape = y.tape};
    return reduce(ag_abs(ag_sub(y, target)), reduction);
}

/* With c = clip(d, -delta, delta) both pieces are c (d - c/2). */
ag_tensor nn_huber_loss(ag_tensor y, ag_tensor target, double delta, nn_reduction reduction)
{
    if (differ("huber_loss", y, target, 0))
        return (ag_tensor){.tape = y.tape};
    if (!(delta > 0.0 && isfinite(delta)))
        return ag_fail(y.tape, "huber_loss: delta is %g; it must be positive and finite", delta);
    ag_tensor d = ag_sub(y, target), c = ag_clip(d, -delta, delta);
    return reduce(ag_mul(c, ag_sub(d, ag_mul_scalar(c, 0.5))), reduction);
}

/* With p = sigmoid(z), -log(p) is softplus(-z) and -log(1 - p) is softplus(z). */
ag_tensor nn_binary_cross_entropy_with_logits(ag_tensor logits, ag_tensor target,
                                              nn_reduction reduction)
{
    if (differ("binary_cross_entropy_with_logits", logits, target, 0))
        return (ag_tensor){.tape = logits.tape};
    ag_tensor yes = ag_mul(target, ag_softplus(ag_neg(logits)));
    ag_tensor no = ag_mul(ag_scalar_sub(1.0, target), ag_softplus(logits));
    return reduce(ag_add(yes, no), reduction);
}

/* The logarithm of each row's likelihood, 0 where it is not kept. A class is picked by choosing,
 * not by multiplying with 1 and 0, since that of an impossible class is -inf. */
static ag_tensor log_likelihood(ag_tensor logits, ag_tensor classes, ag_tensor kept,
                                double smoothing)
{
    ag_shape shape = ag_shape_of(logits);
    int64_t count = shape.rank ? shape.dim[shape.rank - 1] : 1;
    ag_tensor zero = ag_full(classes.tape, AG_SCALAR, 0.0);
    ag_tensor logp = ag_log_softmax(logits, -1);
    ag_tensor kept_classes = ag_name(ag_where(kept, classes, zero), "kept classes");
    ag_tensor chosen = ag_one_hot(kept_classes, count);
    ag_tensor sum = ag_sum_axes(ag_where(chosen, logp, zero), AG_AXES(-1), false);
    if (smoothing > 0.0) {
        ag_tensor mean = ag_mean_axes(logp, AG_AXES(-1), false);
        sum = ag_add(ag_mul_scalar(sum, 1.0 - smoothing), ag_mul_scalar(mean, smoothing));
    }
    return ag_where(kept, sum, zero);
}

ag_tensor nn_cross_entropy_with(ag_tensor logits, ag_tensor classes, double label_smoothing,
                                int64_t ignore_index, nn_reduction reduction)
{
    if (differ("cross_entropy", logits, classes, 1))
        return (ag_tensor){.tape = logits.tape};
    if (!(label_smoothing >= 0.0 && label_smoothing <= 1.0))
        return ag_fail(logits.tape, "cross_entropy: label_smoothing is %g; it must be 0 to 1",
                       label_smoothing);
    ag_tensor ignored = ag_full(classes.tape, AG_SCALAR, (double)ignore_index);
    ag_tensor kept = ag_not_equal(classes, ignored);
    ag_tensor losses = ag_neg(log_likelihood(logits, classes, kept, label_smoothing));
    return reduction == NN_MEAN ? ag_div(ag_sum(losses), ag_sum(kept)) : reduce(losses, reduction);
}

ag_tensor nn_cross_entropy(ag_tensor logits, ag_tensor classes, nn_reduction reduction)
{
    return nn_cross_entropy_with(logits, classes, 0.0, NN_IGNORE_INDEX, reduction);
}
