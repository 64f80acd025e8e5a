//go:build !amd64

package vector

// kernelWidth says that there is no kernel for this machine.
const kernelWidth = 0

func dotKernel(a, b []float32) float32 { return dotLoop(a, b) }
