package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/poterne/poterne/e2e/bench/load"
)

// How the gateways are asked: in turns, so that what else the machine does meets all
// alike, and each turn is compared with NGINX's of the same round.
const (
	gatewayRounds      = 5
	gatewayConnections = 10
	gatewayTurn        = 2 * time.Second
	gatewayTokens      = 16
	streamTokens       = 64
)

// Gateway compares the all-in-one and the separate processes with NGINX as a plain
// proxy before an engine of the same kind, and with GoModel where that is there.
func Gateway(ctx context.Context) (_ []Row, err error) {
	s, err := newStage()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := errors.Join(s.direct(ctx), s.nginx(ctx), s.allInOne(ctx)); err != nil {
		return nil, err
	}
	if _, err := s.separate(ctx); err != nil {
		return nil, err
	}
	if path := os.Getenv("POTERNE_GOMODEL_BIN"); path != "" {
		if err := s.goModel(ctx, path); err != nil {
			return nil, err
		}
	}
	unary, err := s.rounds(ctx, func(c *contender) load.Request { return c.chat(gatewayTokens, "") })
	if err != nil {
		return nil, err
	}
	streams, err := s.rounds(ctx, func(c *contender) load.Request { return c.chat(streamTokens, `,"stream":true`) })
	if err != nil {
		return nil, err
	}
	return append(unaryRows(unary), streamRows(streams)...), nil
}

// turn is what a contender did in one round.
type turn struct {
	rate     float64       // requests a second
	p50, p99 time.Duration // of whole answers
	cpu      time.Duration // of its processes, a request
	peak     float64       // MB resident
	// own is what asking took, a request: the generator's own processor time.
	own time.Duration
}

// turns is what was measured of each contender, round by round.
type turns struct {
	names []string
	of    map[string][]turn
}

// rounds has every contender asked in every round.
func (s *stage) rounds(ctx context.Context, ask func(*contender) load.Request) (*turns, error) {
	out := &turns{of: make(map[string][]turn)}
	for _, c := range s.all {
		out.names = append(out.names, c.name)
		// Connections behind the gateway are opened, and memory is taken, before it counts.
		if _, err := load.Run(ctx, ask(c), load.Options{Connections: gatewayConnections, For: gatewayTurn / 4}); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	for range gatewayRounds {
		for _, c := range s.all {
			t, err := c.turn(ctx, ask(c), load.Options{Connections: gatewayConnections, For: gatewayTurn})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			out.of[c.name] = append(out.of[c.name], t)
		}
	}
	return out, nil
}

// turn asks the contender and looks at its processes.
func (c *contender) turn(ctx context.Context, r load.Request, o load.Options) (turn, error) {
	self := []int{os.Getpid()}
	if err := forgetPeaks(c.pids); err != nil {
		return turn{}, err
	}
	before, err := cpuOf(c.pids)
	if err != nil {
		return turn{}, err
	}
	ownBefore, err := cpuOf(self)
	if err != nil {
		return turn{}, err
	}
	got, err := load.Run(ctx, r, o)
	if err != nil {
		return turn{}, err
	}
	after, err := cpuOf(c.pids)
	if err != nil {
		return turn{}, err
	}
	ownAfter, err := cpuOf(self)
	if err != nil {
		return turn{}, err
	}
	peak, err := memoryOf(c.pids, residentPeak)
	n := time.Duration(max(len(got.Samples), 1))
	return turn{
		rate: got.Rate(), p50: got.Quantile(0.5, load.Whole), p99: got.Quantile(0.99, load.Whole),
		cpu: (after - before) / n, own: (ownAfter - ownBefore) / n, peak: peak,
	}, err
}

// once asks one question.
func once(ctx context.Context, c *contender) error {
	_, err := load.Run(ctx, c.chat(1, ""), load.Options{Connections: 1, Requests: 1})
	return err
}

// median is that of one number over a contender's rounds.
func (t *turns) median(name string, of func(turn) float64) float64 {
	values := make([]float64, 0, gatewayRounds)
	for _, one := range t.of[name] {
		values = append(values, of(one))
	}
	return median(values)
}

// ratio is the median over the rounds of a number against another contender's in the
// same round.
func (t *turns) ratio(name, against string, of func(turn) float64) float64 {
	values := make([]float64, 0, gatewayRounds)
	for i, one := range t.of[name] {
		values = append(values, of(one)/of(t.of[against][i]))
	}
	return median(values)
}

func (t *turns) has(name string) bool { return len(t.of[name]) > 0 }

func cpuMillis(t turn) float64 { return float64(t.cpu.Nanoseconds()) / 1e6 }
func rateOf(t turn) float64    { return t.rate }
func p50Millis(t turn) float64 { return float64(t.p50.Nanoseconds()) / 1e6 }
func p99Millis(t turn) float64 { return float64(t.p99.Nanoseconds()) / 1e6 }
func peakOf(t turn) float64    { return t.peak }
func ownMillis(t turn) float64 { return float64(t.own.Nanoseconds()) / 1e6 }

// numbers is a contender's line.
func (t *turns) numbers(name string) string {
	return fmt.Sprintf("%.0f requests/s, p50 %.2f ms, p99 %.1f ms, CPU %.3f ms, peak %.0f MB",
		t.median(name, rateOf), t.median(name, p50Millis), t.median(name, p99Millis), t.median(name, cpuMillis), t.median(name, peakOf))
}

// numberLines is a line for each contender.
func (t *turns) numberLines(what string) []Row {
	out := make([]Row, 0, len(t.names)+1)
	for _, name := range t.names {
		out = append(out, told(what+": "+name, t.numbers(name)))
	}
	return append(out, told(what+": of it what asking costs by itself", fmt.Sprintf("CPU %.3f ms", t.median(byNginx, ownMillis))))
}

// atMost is a row of a ratio that must not be above its bar.
func atMost(what string, ratio, bar float64) Row {
	return Row{What: what, Measured: fmt.Sprintf("%.2f", ratio), Bar: fmt.Sprintf("≤ %g", bar), Holds: ratio <= bar}
}

// atLeast is the other way round.
func atLeast(what string, ratio, bar float64) Row {
	return Row{What: what, Measured: fmt.Sprintf("%.2f", ratio), Bar: fmt.Sprintf("≥ %g", bar), Holds: ratio >= bar}
}

func unaryRows(t *turns) []Row {
	added := func(name string) float64 { return t.median(name, p50Millis) - t.median(direct, p50Millis) }
	out := append(t.numberLines("unary chat"),
		atMost("unary chat, all-in-one: CPU against NGINX's", t.ratio(byAllInOne, byNginx, cpuMillis), 7),
		atLeast("unary chat, all-in-one: requests/s against NGINX's", t.ratio(byAllInOne, byNginx, rateOf), 0.25),
		Row{What: "unary chat, all-in-one: p50 above the engine's own", Measured: fmt.Sprintf("%.2f ms", added(byAllInOne)), Bar: "≤ 1.5 ms", Holds: added(byAllInOne) <= 1.5},
		atMost("unary chat, separate processes: CPU against NGINX's", t.ratio(bySeparate, byNginx, cpuMillis), 13),
	)
	if !t.has(byGoModel) {
		return append(out, told("GoModel", "not there: POTERNE_GOMODEL_BIN says where"))
	}
	return append(out,
		atMost("unary chat, all-in-one: CPU against GoModel's", t.ratio(byAllInOne, byGoModel, cpuMillis), 0.5),
		atMost("unary chat, all-in-one: p99 against GoModel's", t.ratio(byAllInOne, byGoModel, p99Millis), 0.5),
		atMost("unary chat, separate processes: p50 against GoModel's", t.ratio(bySeparate, byGoModel, p50Millis), 1))
}

func streamRows(t *turns) []Row {
	const what = "a stream of 64 chunks"
	return append(t.numberLines(what),
		atMost(what+", all-in-one: CPU against NGINX's", t.ratio(byAllInOne, byNginx, cpuMillis), 4),
		atMost(what+", separate processes: CPU against NGINX's", t.ratio(bySeparate, byNginx, cpuMillis), 10))
}
