package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// benchmarkLine is what `go test -bench -benchmem` prints of a benchmark: its name,
// its time by the clock, that of the process where it tells it, and allocations.
var benchmarkLine = regexp.MustCompile(
	`(?m)^(Benchmark\S+)\s+\d+\s+([0-9.]+) ns/op(?:\s+([0-9.]+) cpu-ns/op)?\s+\d+ B/op\s+(\d+) allocs/op`)

// RegistryDecision measures how long it takes to decide which arm a subject falls
// into, by the benchmarks of the package that decides: no other may import it.
func RegistryDecision(ctx context.Context) ([]Row, error) {
	bin, err := binary("poterne-registry")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", "2s", "./internal/split")
	cmd.Dir = filepath.Join(filepath.Dir(filepath.Dir(bin)), "services", "inference")
	cmd.Env = append(os.Environ(), "GOFLAGS=-count=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	var rows []Row
	for _, m := range benchmarkLine.FindAllStringSubmatch(string(out), -1) {
		took, measured := m[2], m[2]+" ns"
		if m[3] != "" {
			took, measured = m[3], m[3]+" ns of CPU ("+m[2]+" by the clock)"
		}
		ns, err := strconv.ParseFloat(took, 64)
		if err != nil {
			return nil, err
		}
		rows = append(rows, Row{
			What: "decision: " + m[1], Measured: measured + ", " + m[4] + " allocations",
			Bar: "< 200 ns, none", Holds: ns < 200 && m[4] == "0",
		})
	}
	if len(rows) == 0 {
		return nil, errors.New("the package has no benchmark")
	}
	return rows, nil
}
