package vector

import "gonum.org/v1/gonum/blas/gonum"

// kernelFits reports whether dotKernel is for rows of a width: it sums up four by
// four from addresses that are multiples of 16 bytes on, so that rows of any width
// would be rounded differently from place to place. Rows of whole blocks begin at
// such addresses when their width is a multiple of 4.
func kernelFits(width int) bool { return width%4 == 0 }

// dotKernel is Dot by the processor's vectors.
func dotKernel(a, b []float32) float32 {
	return gonum.Implementation{}.Sdot(len(a), a, 1, b, 1)
}
