package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/poterne/poterne/e2e/process"
)

// The least nDCG@10 over Cranfield's queries of each mode, with the multilingual
// embedding model that comes with the project.
const (
	leastLexical = 0.53
	leastVector  = 0.50
	leastHybrid  = 0.55
)

// qualityStart bounds the start of the process, whose models are read first.
const qualityStart = time.Minute

// SearchQuality measures how well searches rank on the judged collection in dir
// (documents.jsonl, queries.jsonl, qrels.tsv), as a user would: by `poterne
// eval` at the built process with its own models. The bars are those of the
// Cranfield collection. Embedding its documents takes some minutes.
func SearchQuality(dir string) func(ctx context.Context) ([]Row, error) {
	return func(ctx context.Context) (rows []Row, err error) {
		if dir == "" {
			return nil, errors.New("--data does not say where documents.jsonl, queries.jsonl and qrels.tsv are")
		}
		path, err := binary("poterne")
		if err != nil {
			return nil, err
		}
		g, err := startGateway(ctx, path)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, g.stop()) }()
		figures, err := g.evaluate(ctx, path, dir)
		if err != nil {
			return nil, err
		}
		return qualityRows(figures)
	}
}

// evaluated is a row of `poterne eval -o json`.
type evaluated struct {
	Mode     string  `json:"mode"`
	Fusion   string  `json:"fusion"`
	Queries  int     `json:"queries"`
	NDCG     float64 `json:"ndcg_at_10"`
	Degraded int     `json:"degraded"`
}

func qualityRows(figures []evaluated) ([]Row, error) {
	by := make(map[string]evaluated)
	for _, f := range figures {
		if f.Degraded > 0 {
			return nil, fmt.Errorf("%d %s searches were not answered in their mode", f.Degraded, f.Mode)
		}
		by[strings.Trim(f.Mode+" "+f.Fusion, " -")] = f
	}
	var rows []Row
	for _, want := range []struct {
		name  string
		least float64
	}{{"lexical", leastLexical}, {"vector", leastVector}, {"hybrid standardised", leastHybrid}} {
		f, ok := by[want.name]
		if !ok {
			return nil, fmt.Errorf("the evaluation has no figure for %s", want.name)
		}
		rows = append(rows, Row{
			What:     fmt.Sprintf("nDCG@10 of %d queries, %s", f.Queries, want.name),
			Measured: fmt.Sprintf("%.4f", f.NDCG), Bar: fmt.Sprintf("≥ %.2f", want.least), Holds: f.NDCG >= want.least,
		})
	}
	hybrid, ranks := by["hybrid standardised"].NDCG, by["hybrid reciprocal_rank"].NDCG
	better := max(by["lexical"].NDCG, by["vector"].NDCG)
	return append(rows,
		Row{
			What:     "hybrid beside its better leg",
			Measured: fmt.Sprintf("%+.4f", hybrid-better), Bar: "≥ -0.005", Holds: hybrid >= better-0.005,
		},
		told("hybrid beside reciprocal rank fusion", fmt.Sprintf("%+.4f (%.4f)", hybrid-ranks, ranks)),
	), nil
}

// gateway is the all-in-one process on a directory of its own.
type gateway struct {
	process *process.Process
	dir     string
	url     string
}

func startGateway(ctx context.Context, path string) (g *gateway, err error) {
	ctx, cancel := context.WithTimeout(ctx, qualityStart)
	defer cancel()
	made := &gateway{}
	defer func() {
		if err != nil {
			err = errors.Join(err, made.stop())
		}
	}()
	if made.dir, err = os.MkdirTemp("", "poterne-bench-*"); err != nil {
		return nil, err
	}
	for _, sub := range []string{"log", "run"} {
		if err := os.Mkdir(filepath.Join(made.dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	ports, err := process.FreePorts(ctx, 3)
	if err != nil {
		return nil, err
	}
	at := func(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i])) }
	made.url = "http://" + at(0)
	made.process = process.New(process.Spec{
		Name: "poterne", Path: path,
		Args:  []string{"up", "--data-dir", made.data(), "--http-addr", at(0), "--grpc-addr", at(1), "--ops-addr", at(2)},
		Ready: process.HTTPReady("http://"+at(2)+"/readyz", nil),
	}, made.dir)
	return made, made.process.Start(ctx)
}

func (g *gateway) data() string { return filepath.Join(g.dir, "data") }

// evaluate runs the command line; what it tells of its progress goes to stderr.
func (g *gateway) evaluate(ctx context.Context, path, dir string) ([]evaluated, error) {
	key, err := os.ReadFile(filepath.Join(g.data(), "admin.key"))
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, "eval", "--data", dir, "--fusion", "standardised,reciprocal_rank", "-o", "json")
	cmd.Env = append(os.Environ(), "POTERNE_URL="+g.url, "POTERNE_API_KEY="+strings.TrimSpace(string(key)))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("poterne eval: %w", err)
	}
	var figures []evaluated
	if err := json.Unmarshal(out.Bytes(), &figures); err != nil {
		return nil, fmt.Errorf("poterne eval: what it printed: %w", err)
	}
	return figures, nil
}

func (g *gateway) stop() error {
	var err error
	if g.process != nil {
		err = g.process.Stop()
	}
	return errors.Join(err, os.RemoveAll(g.dir))
}
