// Package servicecmd is the command line that every service's binary shares:
// it loads the configuration, prints it when asked, runs the service until a
// signal, and turns the outcome into an exit code. It knows no service; start
// reading at Main.
package servicecmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/poterne/poterne/pkg/config"
)

// The exit codes of every binary.
const (
	ExitDone   = 0
	ExitFailed = 1
	// ExitUsage is wrong usage or a wrong configuration: nothing was started.
	ExitUsage = 2
)

// Main runs the service called name with the process's arguments, environment
// and signals, and returns the exit code for os.Exit. newConfig returns the
// defaults. When *T has a method Complete() error, it is called after loading
// and its problems are reported with the loader's. run must return soon after
// its context ends; a second signal does not wait for it.
func Main[T any](name, version string, newConfig func() *T, run func(ctx context.Context, cfg *T) error) int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	c := Command[T]{Name: name, Version: version, NewConfig: newConfig, Run: run}
	return c.Execute(context.Background(), Process{
		Args: os.Args[1:], Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr, Signals: signals,
	})
}

// Command is a service's command line, apart from the process it runs in.
type Command[T any] struct {
	Name      string
	Version   string
	NewConfig func() *T
	Run       func(ctx context.Context, cfg *T) error
}

// Process is what a command needs of its process.
type Process struct {
	Args           []string
	Env            []string
	Stdout, Stderr io.Writer
	// Signals ends the run at the first value and abandons it at the second.
	Signals <-chan os.Signal
}

// errSignal is the cause with which a run's context ends at a signal.
var errSignal = errors.New("signal received")

// Execute parses the arguments, does what they ask for, and returns the exit
// code.
func (c Command[T]) Execute(ctx context.Context, p Process) int {
	opts, err := c.parse(p.Args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(p.Stdout, c.usage())
		return ExitDone
	case err != nil:
		fmt.Fprintf(p.Stderr, "%s: %v\n\n%s", c.Name, err, c.usage())
		return ExitUsage
	case opts.version:
		fmt.Fprintf(p.Stdout, "%s %s\n", c.Name, c.Version)
		return ExitDone
	case opts.healthcheck != "":
		return c.healthcheck(ctx, p, opts.healthcheck)
	}
	cfg, err := c.load(opts, p.Env)
	if err != nil {
		fmt.Fprintf(p.Stderr, "%s: %v\n", c.Name, err)
		return ExitUsage
	}
	if opts.print {
		return c.print(p, cfg)
	}
	return c.run(ctx, p, cfg)
}

func (c Command[T]) print(p Process, cfg *T) int {
	out, err := config.Marshal(cfg)
	if err == nil {
		_, err = p.Stdout.Write(out)
	}
	if err != nil {
		fmt.Fprintf(p.Stderr, "%s: %v\n", c.Name, err)
		return ExitFailed
	}
	return ExitDone
}

func (c Command[T]) run(ctx context.Context, p Process, cfg *T) int {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, cfg) }()
	signaled := false
	for {
		select {
		case err := <-done:
			return c.outcome(p.Stderr, err)
		case s := <-p.Signals:
			if signaled {
				fmt.Fprintf(p.Stderr, "%s: second signal (%v): ending at once\n", c.Name, s)
				return ExitFailed
			}
			signaled = true
			cancel(fmt.Errorf("%w: %v", errSignal, s))
		}
	}
}

func (c Command[T]) outcome(stderr io.Writer, err error) int {
	var problems config.Errors
	switch {
	case err == nil, errors.Is(err, errSignal):
		return ExitDone
	case errors.As(err, &problems):
		fmt.Fprintf(stderr, "%s: %v\n", c.Name, err)
		return ExitUsage
	default:
		fmt.Fprintf(stderr, "%s: %v\n", c.Name, err)
		return ExitFailed
	}
}

// load returns the complete configuration, or every problem it has.
func (c Command[T]) load(opts options, env []string) (*T, error) {
	cfg := c.NewConfig()
	err := config.Load(cfg, config.Sources{File: opts.file, Env: env, Flags: opts.set})
	completer, ok := any(cfg).(interface{ Complete() error })
	if !ok {
		return cfg, err
	}
	return cfg, merge(err, completer.Complete())
}

// merge joins what loading and completing found. A setting that could not be
// loaded kept its default, so what Complete says of it would only mislead.
func merge(loading, completing error) error {
	var first, second config.Errors
	if !errors.As(loading, &first) || !errors.As(completing, &second) {
		return errors.Join(loading, completing)
	}
	known := make(map[string]bool, len(first))
	for _, p := range first {
		known[p.Path] = true
	}
	out := append(config.Errors(nil), first...)
	for _, p := range second {
		if !known[p.Path] {
			out = append(out, p)
		}
	}
	return out
}

type options struct {
	file    string
	print   bool
	version bool
	// healthcheck is a URL to ask instead of running.
	healthcheck string
	set         map[string]string
}

func (c Command[T]) parse(args []string) (options, error) {
	opts := options{set: make(map[string]string)}
	fs := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&opts.file, "config", "", "")
	fs.BoolVar(&opts.print, "print-config", false, "")
	fs.BoolVar(&opts.version, "version", false, "")
	fs.StringVar(&opts.healthcheck, "healthcheck", "", "")
	fs.Func("set", "", func(s string) error {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return errors.New("must be written section.key=value")
		}
		opts.set[key] = value
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return options{}, err
	}
	if fs.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	return opts, nil
}

func (c Command[T]) usage() string {
	return fmt.Sprintf(`usage: %s [flags]

  --config FILE          read settings from FILE (YAML)
  --set section.key=VAL  set one setting; may be repeated
  --print-config         print the effective settings, secrets masked, and exit
  --healthcheck URL      ask a running instance's /livez or /readyz, and exit 0
                         when it answers 200, 1 when it does not
  --version              print the version and exit
  --help                 print this help and exit

Settings come from the file, then from %s<SECTION>_<KEY> in the environment,
then from --set; later ones win.
`, c.Name, config.EnvPrefix)
}
