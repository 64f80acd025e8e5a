//go:build !amd64

package vector

// kernelFits says that there is no kernel for this machine.
func kernelFits(int) bool { return false }

func dotKernel(a, b []float32) float32 { return dotLoop(a, b) }
