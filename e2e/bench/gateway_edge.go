package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/e2e/bench/load"
)

// What is asked of one edge.
const (
	edgeStarts      = 5
	edgeConnections = 64
	edgeStreams     = 5000
	longChunks      = 500
	// idleTime is after how long without requests an edge is looked at.
	idleTime = 20 * time.Second
	// heldTime is for how long its streams are open then.
	heldTime = 10 * time.Second
)

// GatewayEdge looks at one edge as a process: its start, its memory, and long streams
// through it, inference and a worker.
func GatewayEdge(ctx context.Context) (_ []Row, err error) {
	s, err := newStage()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	s.edge = "inference: {direct_streams: 8000}\n" // few edges and many streams (docs/architecture.md)
	p, err := s.separate(ctx)
	if err != nil {
		return nil, err
	}
	edge := []int{p.edge.Pid()}
	idle, err := p.idle(ctx)
	if err != nil {
		return nil, err
	}
	if err := forgetPeaks(edge); err != nil {
		return nil, err
	}
	c := s.all[0]
	if _, err := load.Run(ctx, c.chat(gatewayTokens, ""), load.Options{Connections: edgeConnections, For: 2 * gatewayTurn}); err != nil {
		return nil, err
	}
	busy, err := memoryOf(edge, residentPeak)
	if err != nil {
		return nil, err
	}
	long, err := p.longStreams(ctx)
	if err != nil {
		return nil, err
	}
	held, later, err := p.held(ctx)
	if err != nil {
		return nil, err
	}
	starts, err := p.starts(ctx)
	if err != nil {
		return nil, err
	}
	rows := []Row{
		{What: "an edge is ready after", Measured: starts.Round(time.Millisecond).String(), Bar: "≤ 300ms", Holds: starts <= 300*time.Millisecond},
		memoryRow("an edge, idle", idle, 35),
		memoryRow("an edge at 64 connections, peak", busy, 60),
		memoryRow("an edge with 5,000 streams that have just opened", held, 250),
		memoryRow("an edge with 5,000 open streams, 10 s later", later, 250),
	}
	return append(rows, long...), nil
}

func memoryRow(what string, mb, bar float64) Row {
	return Row{What: what, Measured: fmt.Sprintf("%.0f MB", mb), Bar: fmt.Sprintf("≤ %g MB", bar), Holds: mb <= bar}
}

// idle is the edge's memory when nothing was asked for a while.
func (p *separate) idle(ctx context.Context) (float64, error) {
	select {
	case <-time.After(idleTime):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	return memoryOf([]int{p.edge.Pid()}, residentNow)
}

// starts is the median time from the start of the edge, beside services that run, until
// it says that a chat would be served.
func (p *separate) starts(ctx context.Context) (time.Duration, error) {
	took := make([]time.Duration, 0, edgeStarts)
	for range edgeStarts {
		if err := p.edge.Stop(); err != nil {
			return 0, err
		}
		begun := time.Now()
		if err := p.edge.Start(ctx); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begun))
	}
	return median(took), nil
}

// held is the edge's memory when many streams have opened, and while they stay open.
func (p *separate) held(ctx context.Context) (opened, later float64, err error) {
	c := ours(bySeparate, p.http, p.key)
	c.model = heldModel
	open, err := load.Hold(ctx, c.chat(8, `,"stream":true,"sim":{"hold_after":1}`), edgeStreams)
	if err != nil {
		return 0, 0, fmt.Errorf("%d streams: %w", edgeStreams, err)
	}
	defer open.Close()
	edge := []int{p.edge.Pid()}
	if opened, err = memoryOf(edge, residentNow); err != nil {
		return 0, 0, err
	}
	select {
	case <-time.After(heldTime):
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	later, err = memoryOf(edge, residentNow)
	return opened, later, err
}

// longStreams compares long streams, through processes and through the all-in-one, with
// those of an engine that nothing stands before.
func (p *separate) longStreams(ctx context.Context) (_ []Row, err error) {
	const extra = `,"stream":true,"ignore_eos":true`
	paced, err := p.paced(ctx, extra)
	if err != nil {
		return nil, err
	}
	beside, err := newStage()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, beside.close()) }()
	if err := errors.Join(beside.direct(ctx), beside.allInOne(ctx)); err != nil {
		return nil, err
	}
	plain, whole, through := beside.all[0], beside.all[1], p.stage.all[0]
	// The cost of a chunk is what a long stream costs more than a short one.
	const count = 20
	one := load.Options{Connections: 1, Requests: count}
	var firsts, inOne, lasts, chunks []float64
	for range gatewayRounds {
		short, err := through.turn(ctx, through.chat(1, extra), one)
		if err != nil {
			return nil, err
		}
		long, err := through.turn(ctx, through.chat(longChunks, extra), one)
		if err != nil {
			return nil, err
		}
		chunks = append(chunks, float64((long.cpu-short.cpu).Nanoseconds())/1e3/(longChunks-1))
		var took [3]load.Result
		for i, c := range []*contender{plain, through, whole} {
			if took[i], err = load.Run(ctx, c.chat(longChunks, extra), one); err != nil {
				return nil, err
			}
		}
		own := took[0].Quantile(0.5, load.First)
		firsts = append(firsts, millis(took[1].Quantile(0.5, load.First)-own))
		inOne = append(inOne, millis(took[2].Quantile(0.5, load.First)-own))
		lasts = append(lasts, millis(took[1].Quantile(0.5, load.Whole)))
	}
	chunk := median(chunks)
	return append([]Row{
		firstTokenRow(byAllInOne, median(inOne)),
		firstTokenRow(bySeparate, median(firsts)),
		{What: "a stream of 500 chunks: CPU a chunk of edge, inference and worker", Measured: fmt.Sprintf("%.1f µs", chunk), Bar: "≤ 30 µs", Holds: chunk <= 30},
		told("a stream of 500 chunks: the whole", fmt.Sprintf("%.1f ms", median(lasts))),
	}, paced), nil
}

// firstTokenRow is the row of how much later a gateway's first token comes than an engine's.
func firstTokenRow(by string, added float64) Row {
	return Row{
		What: "a stream of 500 chunks, " + by + ": time to the first token above the engine's own", Measured: fmt.Sprintf("%.2f ms", added),
		Bar: "≤ 1 ms", Holds: added <= 1,
	}
}

// paced looks whether chunks that come one by one leave one by one: how long before the
// end of a stream each arrives, beside the engine's pace.
func (p *separate) paced(ctx context.Context, extra string) (Row, error) {
	c := ours(bySeparate, p.http, p.key)
	c.model = slowModel
	const tokens = slowRate // a second of them
	got, err := load.Run(ctx, c.chat(tokens, extra), load.Options{Connections: 1, Requests: 3, Stamp: true})
	if err != nil {
		return Row{}, err
	}
	late := 0
	for _, s := range got.Samples {
		late += together(s.Times, time.Second/slowRate)
	}
	share := float64(late) / float64(max(len(got.Samples), 1)*tokens)
	return Row{
		What: "chunks at 200 a second that came with the next one", Measured: fmt.Sprintf("%.1f %%", 100*share), Bar: "≤ 2 %", Holds: share <= 0.02,
	}, nil
}

// together counts the events that came within a tenth of a step before another, the
// last three aside: the end of an answer follows at once.
func together(times []time.Duration, step time.Duration) int {
	n := 0
	for i := 1; i < len(times)-3; i++ {
		if times[i]-times[i-1] < step/10 {
			n++
		}
	}
	return n
}

func millis(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
