package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/poterne/poterne/e2e/process"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// embedder is a worker with a model that embeds, and a client of it.
type embedder struct {
	worker *process.Process
	conn   *grpc.ClientConn
	client workerv1.WorkerServiceClient
	dir    string
}

var embedderDigest = "sha256:" + strings.Repeat("e", 64)

const startTimeout = 30 * time.Second

// startEmbedder starts a worker with the settings, and the model on it.
func startEmbedder(ctx context.Context, spec *commonv1.ModelSpec, set []string) (e *embedder, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	path, err := binary("poterne-worker")
	if err != nil {
		return nil, err
	}
	made := &embedder{}
	e = made
	defer func() {
		if err != nil {
			err = errors.Join(err, made.stop())
		}
	}()
	if e.dir, err = os.MkdirTemp("", "poterne-bench-*"); err != nil {
		return nil, err
	}
	for _, sub := range []string{"log", "run", "state"} {
		if err := os.Mkdir(filepath.Join(e.dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	ports, err := process.FreePorts(ctx, 2)
	if err != nil {
		return nil, err
	}
	at := func(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i])) }
	args := make([]string, 0, 2*len(set)+6)
	for _, s := range append(set, "grpc.addr="+at(0), "telemetry.ops_addr="+at(1), "state_dir="+filepath.Join(e.dir, "state")) {
		args = append(args, "--set", s)
	}
	e.worker = process.New(process.Spec{Name: "worker", Path: path, Args: args, Dir: e.dir}, e.dir)
	if err := e.worker.Start(ctx); err != nil {
		return nil, err
	}
	if e.conn, err = grpc.NewClient(at(0), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true))); err != nil {
		return nil, err
	}
	e.client = workerv1.NewWorkerServiceClient(e.conn)
	if err := e.load(ctx, spec); err != nil {
		return nil, err
	}
	return e, nil
}

// load has the worker load the model, and waits until it serves.
func (e *embedder) load(ctx context.Context, spec *commonv1.ModelSpec) error {
	if _, err := e.client.LoadModel(ctx, &workerv1.LoadModelRequest{Digest: embedderDigest, Name: "bench@v1", Spec: spec}); err != nil {
		return fmt.Errorf("load the model: %w", err)
	}
	states, err := e.client.WatchState(ctx, &workerv1.WatchStateRequest{})
	if err != nil {
		return err
	}
	for {
		s, err := states.Recv()
		if err != nil {
			return fmt.Errorf("wait for the model: %w", err)
		}
		if m := s.GetState().GetModels(); len(m) == 1 && m[0].GetState() == workerv1.ModelState_MODEL_STATE_READY {
			return nil
		}
	}
}

func (e *embedder) stop() error {
	var errs []error
	if e.conn != nil {
		errs = append(errs, e.conn.Close())
	}
	if e.worker != nil {
		errs = append(errs, e.worker.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(e.dir))...)
}

// round measures the rate under load, and then single queries.
func (e *embedder) round(ctx context.Context, into *embeddingFigure) error {
	rate, err := e.rate(ctx)
	if err != nil {
		return err
	}
	into.rates = append(into.rates, rate)
	for i := range embeddingQueries {
		begun := time.Now()
		if err := e.ask(ctx, i); err != nil {
			return err
		}
		into.delays = append(into.delays, time.Since(begun))
	}
	return nil
}

func (e *embedder) rate(ctx context.Context) (float64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var done atomic.Int64
	var ended atomic.Bool
	var wg sync.WaitGroup
	for caller := range embeddingCallers {
		wg.Go(func() {
			for i := 0; !ended.Load(); i++ {
				if err := e.ask(ctx, caller*1000+i); err != nil {
					cancel(err)
					return
				}
				done.Add(1)
			}
		})
	}
	sleep(ctx, embeddingWarm)
	begun, before := time.Now(), done.Load()
	sleep(ctx, embeddingTime)
	rate := float64(done.Load()-before) / time.Since(begun).Seconds()
	ended.Store(true)
	wg.Wait()
	return rate, context.Cause(ctx)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (e *embedder) ask(ctx context.Context, n int) error {
	_, err := e.client.Embed(ctx, &workerv1.EmbedRequest{Digest: embedderDigest, InputType: "query", Inputs: []*workerv1.EmbedInput{
		{Input: &workerv1.EmbedInput_Text{Text: fmt.Sprintf("where is the gate number %d", n)}},
	}})
	return err
}

// binary is the path of one of our programs: in POTERNE_BIN_DIR, or in bin of the
// repository that the working directory lies in.
func binary(name string) (string, error) {
	dir := os.Getenv("POTERNE_BIN_DIR")
	if dir == "" {
		root, err := os.Getwd()
		if err != nil {
			return "", err
		}
		for ; root != filepath.Dir(root); root = filepath.Dir(root) {
			if _, err := os.Stat(filepath.Join(root, "go.work")); err == nil {
				break
			}
		}
		dir = filepath.Join(root, "bin")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: `make build` makes it, POTERNE_BIN_DIR says where it is", err)
	}
	return path, nil
}
