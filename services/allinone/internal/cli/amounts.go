package cli

import (
	"fmt"
	"strconv"
)

// number reads a number of an answer, which for one of 64 bits may be a text; 0
// when there is none.
func number(v any) float64 {
	n, err := strconv.ParseFloat(fmt.Sprint(v), 64)
	if err != nil {
		return 0
	}
	return n
}

// size writes bytes for people; nothing for none.
func size(v any) string {
	n := number(v)
	switch {
	case n <= 0:
		return ""
	case n < 1<<10:
		return fmt.Sprintf("%.0f B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", n/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", n/(1<<20))
	default:
		return fmt.Sprintf("%.2f GiB", n/(1<<30))
	}
}

// percent writes a share; nothing when there is none.
func percent(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.2f%%", 100*number(v))
}
