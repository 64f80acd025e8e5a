package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	searchPassages  = 100_000
	searchMillion   = 1_000_000
	searchQuestions = 200
)

// embeddedIndex is the index section of the configuration.
const embeddedIndex = `{dir: "DIR"}`

// Search measures the embedded index at a hundred thousand passages of 384
// dimensions, through the service's own binary over loopback: how fast they are
// taken in, how long hybrid searches take, without a filter and with narrow
// ones, and how much of the exact answer the vector leg finds. Vectors are known
// beforehand (knownVectors), so that no embedding is measured.
func Search(ctx context.Context) (rows []Row, err error) {
	return searchEmbedded(ctx, searchPassages, 3*time.Millisecond, 9*time.Millisecond, 0, embeddedIndex)
}

// SearchMillion is the same with a million passages, and what memory they take
// where it is bounded, as an operator would: Go's own soft limit for what is not
// mapped, and index.mapped_bytes for what is.
func SearchMillion(ctx context.Context) (rows []Row, err error) {
	return searchEmbedded(ctx, searchMillion, 30*time.Millisecond, 0, 2<<30, `{dir: "DIR", mapped_bytes: 512MiB}`, "GOMEMLIMIT=1300MiB")
}

// searchEmbedded measures n passages against the bars that are not 0.
func searchEmbedded(
	ctx context.Context, n int, ten, hundred time.Duration, memory int64, index string, env ...string,
) (rows []Row, err error) {
	c := newCorpus(n, searchQuestions)
	node, err := openSearch(ctx, c, index, env...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, node.close()) }()
	took, err := node.ingest(ctx, n)
	if err != nil {
		return nil, err
	}
	size := fmt.Sprintf("embedded, %d passages", n)
	rate := float64(n) / took.Seconds()
	rows = append(rows, Row{
		What: size + ": passages taken in a second, embedding excluded", Measured: fmt.Sprintf("%.0f", rate),
		Bar: "≥ 5000", Holds: rate >= 5000,
	})
	answered, err := node.measure(ctx)
	if err != nil {
		return nil, err
	}
	rows = append(rows,
		latencyRow(size+": hybrid, k 10, p50 (p99)", answered.ten[0], ten),
		latencyRow(size+": hybrid, k 100, p50 (p99)", answered.hundred, hundred))
	for i, cut := range cuts() {
		rows = append(rows, Row{
			What:     fmt.Sprintf("%s: recall@10 of the vector leg, passages that pass: %s", size, cut.name),
			Measured: fmt.Sprintf("%.4f", answered.recall[i]), Bar: "≥ 0.99", Holds: answered.recall[i] >= 0.99,
		})
		if i == 0 {
			continue
		}
		ratio := float64(middle(answered.ten[i])) / float64(middle(answered.ten[0]))
		rows = append(rows, Row{
			What:     fmt.Sprintf("%s: hybrid, k 10, p50 with a filter that passes %s against none", size, cut.name),
			Measured: fmt.Sprintf("%.2f × (%v)", ratio, middle(answered.ten[i]).Round(time.Microsecond)), Bar: "≤ 2 ×", Holds: ratio <= 2,
		})
	}
	resident, err := residentBytes(node.process.Pid())
	if err != nil {
		return nil, err
	}
	row := told(size+": resident memory of the service", fmt.Sprintf("%d MB", resident>>20))
	if memory > 0 {
		row.Bar, row.Holds = fmt.Sprintf("< %d MB", memory>>20), resident < memory
	}
	return append(rows, row), nil
}

func latencyRow(what string, times []time.Duration, bar time.Duration) Row {
	row := told(what, fmt.Sprintf("%v (%v)", middle(times).Round(time.Microsecond), ninetyNinth(times).Round(time.Microsecond)))
	if bar > 0 {
		row.Bar, row.Holds = "≤ "+bar.String(), middle(times) <= bar
	}
	return row
}

func ninetyNinth(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)*99/100]
}

// searchFigures is what the questions of a corpus took, and what of the exact
// answer was found, under each of cuts.
type searchFigures struct {
	ten     [][]time.Duration
	hundred []time.Duration
	recall  []float64
}

// measure asks every question, its kinds one after another so that what else the
// machine does meets all. The first questions warm up.
func (n *searchNode) measure(ctx context.Context) (f searchFigures, err error) {
	const warm = 20
	f.ten, f.recall = make([][]time.Duration, len(cuts())), make([]float64, len(cuts()))
	for _, q := range n.corpus.questions[:warm] {
		if _, _, err := n.ask(ctx, q.text, "hybrid", "", 10); err != nil {
			return f, err
		}
	}
	narrow := cuts()[len(cuts())-1].filter
	for _, q := range n.corpus.questions {
		// The question's vector is there by then, as it is for an index that is asked
		// by hand; here it is remembered.
		if _, _, err := n.ask(ctx, q.text, "vector", narrow, 1); err != nil {
			return f, err
		}
		for i, cut := range cuts() {
			_, took, err := n.ask(ctx, q.text, "hybrid", cut.filter, 10)
			if err != nil {
				return f, err
			}
			f.ten[i] = append(f.ten[i], took)
			found, _, err := n.ask(ctx, q.text, "vector", cut.filter, 10)
			if err != nil {
				return f, err
			}
			f.recall[i] += share(found, q.near[i]) / float64(len(n.corpus.questions))
		}
		_, took, err := n.ask(ctx, q.text, "hybrid", "", 100)
		if err != nil {
			return f, err
		}
		f.hundred = append(f.hundred, took)
	}
	return f, nil
}

// share is how much of want was found.
func share(found, want []string) float64 {
	n := 0
	for _, id := range want {
		if slices.Contains(found, id) {
			n++
		}
	}
	return float64(n) / float64(len(want))
}

// residentBytes is what of a process is in memory, mapped files included.
func residentBytes(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("how much memory a process takes is known on Linux: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("the process's status says nothing of its memory")
}
