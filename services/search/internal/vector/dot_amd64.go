package vector

import "gonum.org/v1/gonum/blas/gonum"

// kernelWidth is what a width must be a multiple of for dotKernel: it sums up
// four by four from addresses that are multiples of 16 bytes on, so that the
// rows of other widths would be rounded differently from place to place. Rows of
// whole blocks begin at such addresses.
const kernelWidth = 4

// dotKernel is Dot by the processor's vectors.
func dotKernel(a, b []float32) float32 {
	return gonum.Implementation{}.Sdot(len(a), a, 1, b, 1)
}
