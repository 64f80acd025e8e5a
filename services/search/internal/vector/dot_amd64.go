package vector

import (
	"github.com/viterin/vek/vek32"
	"golang.org/x/sys/cpu"
)

// kernelFits reports whether dotKernel may be asked for rows of a width on this
// machine.
func kernelFits(width int) bool { return width > 0 && cpu.X86.HasAVX2 && cpu.X86.HasFMA }

// dotKernel is Dot by the processor's vectors.
func dotKernel(a, b []float32) float32 { return vek32.Dot(a, b) }
