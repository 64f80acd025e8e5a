// Package sequential holds the statistics of experiments that are looked at all
// the time: confidence sequences and tests whose error holds at every look
// together, so that nobody has to say beforehand when to stop. All functions are
// pure and take sums, in whatever order and however batched these came.
//
// Methods and their sources:
//   - shares and means in [0, 1]: the beta-binomial mixture (Robbins 1970; as
//     sub-Bernoulli boundary in Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform,
//     nonparametric, nonasymptotic confidence sequences", 2021). Exact at every
//     size;
//   - means, differences and ratios of large samples: the normal mixture of the
//     same paper on sample means, as in Waudby-Smith, Arbour, Sinha, Kennedy,
//     Ramdas, "Time-uniform central limit theory and asymptotic confidence
//     sequences", 2021;
//   - quantiles: Howard, Ramdas, "Sequential estimation of quantiles with
//     applications to A/B testing and best-arm identification", 2022;
//   - sample ratio: Lindon, Malek, "Anytime-valid inference for multinomial count
//     data", 2022.
//
// Begin with Ratio and Worse; docs/evidence.md has the formulae.
package sequential
