// Package sim runs the simulated engine as a process of its own. It is
// exported so that other binaries can hold it as a subcommand; what the engine
// does is in the internal package of the same name. Start reading at Main.
package sim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/servicecmd"
	"github.com/poterne/poterne/services/worker/internal/sim"
)

// The exit codes, alike in all binaries.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// Config is where the engine listens and what it pretends to be.
type Config struct {
	// Host and Port are where it listens; port 0 takes a free one.
	Host string
	Port int
	// ExitWithStdin ends the engine when standard input does, so that it does
	// not outlive what started it.
	ExitWithStdin bool

	Engine sim.Config
}

// Process is what the engine needs of its process.
type Process struct {
	Stdin  io.Reader
	Stderr io.Writer
	// Exit ends the process at once, for crashes on purpose.
	Exit func(code int)
}

// Main runs the engine with the given arguments, without the program's name,
// until a signal, and returns the exit code.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	restore := servicecmd.RoomyHeap()
	defer restore()
	p := Process{Stdin: os.Stdin, Stderr: os.Stderr, Exit: os.Exit} //nolint:forbidigo // a crash on purpose
	cfg, err := Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(p.Stderr, Usage())
		return exitDone
	case err != nil:
		fmt.Fprintf(p.Stderr, "poterne-sim: %v\n(--help lists the flags)\n", err)
		return exitUsage
	}
	if err := Run(ctx, cfg, p); err != nil {
		fmt.Fprintf(p.Stderr, "poterne-sim: %v\n", err)
		return exitFailed
	}
	return exitDone
}

func flags(cfg *Config) *flag.FlagSet {
	fs := flag.NewFlagSet("poterne-sim", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	e := &cfg.Engine
	*e = sim.DefaultConfig()
	fs.StringVar(&cfg.Host, "host", "127.0.0.1", "address to listen on")
	fs.IntVar(&cfg.Port, "port", 8000, "port to listen on; 0 takes a free one")
	fs.BoolVar(&cfg.ExitWithStdin, "exit-with-stdin", false, "end when standard input ends")
	fs.StringVar(&e.Model, "model", e.Model, "served name; sim/ is put before it")
	fs.IntVar(&e.ContextTokens, "context", e.ContextTokens, "tokens that prompt and answer may have together")
	fs.IntVar(&e.Slots, "slots", e.Slots, "requests that run at once")
	fs.IntVar(&e.KVTokens, "kv-tokens", e.KVTokens, "tokens of all requests that run at once")
	fs.IntVar(&e.MaxWaiting, "max-waiting", e.MaxWaiting, "requests that may wait")
	fs.Float64Var(&e.PrefillRate, "prefill-rate", 0, "tokens of the prompt a second; 0 is without delay")
	fs.IntVar(&e.PrefillParallel, "prefill-parallel", 0, "prompts that are read at once; 0 does not limit it")
	fs.Float64Var(&e.DecodeRate, "decode-rate", 0, "tokens of the answer a second; 0 is without delay")
	fs.DurationVar(&e.FirstToken, "first-token", 0, "time before the first token besides the prefill")
	fs.DurationVar(&e.EmbeddingCall, "embedding-call", 0, "time that a call to embed takes besides its tokens")
	fs.Float64Var(&e.EmbeddingRate, "embedding-rate", 0, "tokens embedded a second in a call; 0 is without delay")
	fs.IntVar(&e.EmbeddingCalls, "embedding-calls", e.EmbeddingCalls, "calls to embed that are computed at once; more wait")
	fs.DurationVar(&e.StartDelay, "start-delay", 0, "time the engine pretends to load")
	fs.IntVar(&e.AnswerTokens, "answer-tokens", e.AnswerTokens, "tokens of an answer that nothing else limits")
	fs.IntVar(&e.Dimensions, "dimensions", e.Dimensions, "length of embedding vectors")
	fs.Uint64Var(&e.Seed, "seed", 0, "changes all answers")
	f := &e.Faults
	fs.Float64Var(&f.ErrorRate, "error-rate", 0, "share of requests that fail, 0 to 1")
	fs.IntVar(&f.ErrorStatus, "error-status", 0, "their HTTP status; 500 when 0")
	fs.Int64Var(&f.CrashAfter, "crash-after", 0, "crash at the request with this number; 0 never")
	fs.BoolVar(&f.Hang, "hang", false, "answer nothing")
	fs.IntVar(&f.DisconnectAfter, "disconnect-after", 0, "cut streams after so many chunks; 0 never")
	return fs
}

// Parse reads the command line: this engine's flags, or `serve` and those of
// vLLM. The error is flag.ErrHelp when help is asked for.
func Parse(args []string) (Config, error) {
	if len(args) > 0 && args[0] == serveCommand {
		return parseServe(args[1:])
	}
	var cfg Config
	fs := flags(&cfg)
	if err := fs.Parse(args); err != nil {
		return Config{}, err
	}
	var p config.Problems
	p.Check(fs.NArg() == 0, "arguments", "unexpected %q", fs.Arg(0))
	p.Check(cfg.Port >= 0 && cfg.Port <= 65535, "port", "must be from 0 to 65535, got %d", cfg.Port)
	return cfg, errors.Join(p.Err(), cfg.Engine.Validate())
}

// Usage returns the help text.
func Usage() string {
	var cfg Config
	fs := flags(&cfg)
	var b writer
	fs.SetOutput(&b)
	fs.PrintDefaults()
	return "usage: poterne-sim [flags]\n       poterne-sim serve MODEL [vLLM's flags]\n\nA simulated inference engine with vLLM's OpenAI API.\n\n" + string(b)
}

type writer []byte

func (w *writer) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

// Run serves until ctx ends, and then cuts what is open, as engines do.
func Run(ctx context.Context, cfg Config, p Process) error {
	log := slog.New(slog.NewTextHandler(p.Stderr, nil))
	engine, err := sim.New(cfg.Engine, clock.Real(), log, p.Exit)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	lis, err := lc.Listen(ctx, "tcp", net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port)))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if cfg.ExitWithStdin {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go func() {
			_, _ = io.Copy(io.Discard, p.Stdin)
			cancel()
		}()
	}
	server := &http.Server{
		Handler: engine, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	log.InfoContext(ctx, "simulated engine ready", slog.String("model", cfg.Engine.ServedName()), slog.String("addr", lis.Addr().String()))
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
		err := server.Close()
		if end := <-served; !errors.Is(end, http.ErrServerClosed) {
			err = errors.Join(err, end)
		}
		return err
	}
}
