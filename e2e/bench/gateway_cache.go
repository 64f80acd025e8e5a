package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/poterne/poterne/e2e/bench/load"
	"github.com/poterne/poterne/e2e/process"
)

const (
	// cacheRequests is how many hits are asked for one after another in a round.
	cacheRequests = 2000
	// cacheWish has answers kept that end at max_tokens, as these do.
	cacheWish = `,"cache":{"use":"on","truncated":true}`
	// cacheTokens is the length of what is kept.
	cacheTokens = 64
)

// GatewayCache measures what a hit of the response cache takes: from the memory of the
// all-in-one and of an edge as a process, and from a Redis that edges share.
func GatewayCache(ctx context.Context) ([]Row, error) {
	memory, err := cacheStage(ctx, "cache: {enabled: true}\n", func(s *stage) error {
		s.up = []string{"--cache"}
		return s.allInOne(ctx)
	})
	if err != nil {
		return nil, err
	}
	at, err := addrs(ctx, 1)
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf("cache: {enabled: true, memory_bytes: 0, shared: {backend: redis, addrs: [%q], timeout: 50ms}}\n", at[0])
	shared, err := cacheStage(ctx, config, func(s *stage) error { return s.redis(ctx, at[0]) })
	if err != nil {
		return nil, err
	}
	for i := range shared {
		shared[i].What = strings.Replace(shared[i].What, bySeparate, "an edge with Redis alone", 1)
	}
	return append(memory, shared...), nil
}

// cacheStage measures the separate processes, and what more starts besides.
func cacheStage(ctx context.Context, config string, more func(*stage) error) (_ []Row, err error) {
	s, err := newStage()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := more(s); err != nil {
		return nil, err
	}
	s.edge = config
	if _, err := s.separate(ctx); err != nil {
		return nil, err
	}
	var rows []Row
	for _, c := range s.all {
		got, err := c.hits(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		rows = append(rows, got...)
	}
	return rows, nil
}

// redis starts a Redis that keeps nothing on disk.
func (s *stage) redis(ctx context.Context, at string) error {
	path := os.Getenv("POTERNE_REDIS_SERVER_BIN")
	if path == "" {
		return errors.New("there is no Redis: scripts/components.sh servers, and POTERNE_REDIS_SERVER_BIN says where")
	}
	_, port, _ := strings.Cut(at, ":")
	_, err := s.start(ctx, process.Spec{
		Name: "redis", Path: path, Ready: process.TCPReady(at),
		Args: []string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", filepath.Join(s.dir, "redis")},
	})
	return err
}

// hits asks for one answer again and again: one after another, and on ten connections.
func (c *contender) hits(ctx context.Context) ([]Row, error) {
	r, made := c.chat(cacheTokens, cacheWish), c.chat(cacheTokens, `,"cache":{"use":"off"}`)
	if err := process.Poll(ctx, func(ctx context.Context) error { return isHit(ctx, r) }); err != nil {
		return nil, err
	}
	one := load.Options{Connections: 1, Requests: cacheRequests}
	var p50s, p99s, others []float64
	var ten []turn
	for range gatewayRounds {
		hit, err := load.Run(ctx, r, one)
		if err != nil {
			return nil, err
		}
		miss, err := load.Run(ctx, made, load.Options{Connections: 1, Requests: cacheRequests / 10})
		if err != nil {
			return nil, err
		}
		many, err := c.turn(ctx, r, load.Options{Connections: gatewayConnections, For: gatewayTurn})
		if err != nil {
			return nil, err
		}
		p50s, p99s = append(p50s, millis(hit.Quantile(0.5, load.Whole))), append(p99s, millis(hit.Quantile(0.99, load.Whole)))
		others, ten = append(others, millis(miss.Quantile(0.5, load.Whole))), append(ten, many)
	}
	if err := isHit(ctx, r); err != nil {
		return nil, err
	}
	p50 := median(p50s)
	t := &turns{names: []string{c.name}, of: map[string][]turn{c.name: ten}}
	what := "a hit of the cache, " + c.name
	return []Row{
		{What: what + ": p50", Measured: fmt.Sprintf("%.3f ms", p50), Bar: "≤ 0.5 ms", Holds: p50 <= 0.5},
		told(what+": p99", fmt.Sprintf("%.3f ms", median(p99s))),
		told(what+": p50 of an answer that is made", fmt.Sprintf("%.3f ms", median(others))),
		told(what+": on ten connections", t.numbers(c.name)),
	}, nil
}

// isHit asks once and fails unless the answer was kept.
func isHit(ctx context.Context, r load.Request) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.Addr+r.Path, strings.NewReader(r.Body))
	if err != nil {
		return err
	}
	for _, h := range r.Header {
		req.Header.Set(h[0], h[1])
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if state := resp.Header.Get("X-Poterne-Cache"); state != "hit" {
		return fmt.Errorf("HTTP %d, and the cache says %q", resp.StatusCode, state)
	}
	return nil
}
