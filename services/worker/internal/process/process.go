// Package process runs one engine as a child process: in a group of its own,
// with its output in the log, and gone when the agent is gone, however that
// ended. It knows nothing of engines; start reading at Start and Ledger.
package process

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// The keys of log records about a child.
const (
	KeyPID  = "engine_pid"
	KeyLine = "line"
)

// Command says what to run.
type Command struct {
	Path string
	Args []string
	// Env is added to the agent's environment, less the agent's own settings,
	// which may hold secrets.
	Env []string
	Dir string
	// Output, unless nil, is given what the child writes, besides the log. It must
	// take it at once and never fail.
	Output io.Writer
	// Nice is how far the child gives way to other processes, 0 to 19.
	Nice int
	// Batch has the child keep its share of the processors, but not take one from
	// whoever is in the middle of something when the child has something to do. It
	// is Linux's policy for that (sched(7)), and nothing elsewhere.
	Batch bool
	// What it is, for messages; empty is an engine.
	What string
}

// Process is one running child. It is safe for concurrent use.
type Process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	out    *output
	ledger *Ledger
	what   string
	exited chan struct{}
	err    error // set before exited is closed
}

// outputDelay bounds the wait for output after the child's end, for a
// grandchild may hold it open.
const outputDelay = time.Second

// Start runs the command and notes it in the ledger. The child outlives ctx;
// it is ended by Stop, and by the end of this process.
func Start(ctx context.Context, c Command, ledger *Ledger, log *slog.Logger) (*Process, error) {
	out := newOutput(log)
	cmd := exec.Command(c.Path, c.Args...) //nolint:gosec,noctx // the worker's own configuration; ended by Stop
	mark := markOf(rand.Text())
	cmd.Dir, cmd.Env = c.Dir, append(environment(os.Environ()), append(c.Env, mark)...)
	var written io.Writer = out
	if c.Output != nil {
		written = io.MultiWriter(out, c.Output)
	}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = written, written, outputDelay
	cmd.SysProcAttr = attributes()
	// A child that watches its standard input sees its end when this process
	// ends, since only this process holds the other side.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	p := &Process{cmd: cmd, stdin: stdin, out: out, ledger: ledger, what: cmp.Or(c.What, "engine"), exited: make(chan struct{})}
	started := make(chan error)
	prepare := func() (undo func() error) { return func() error { return nil } }
	if c.Batch {
		prepare = func() func() error {
			undo, err := asBatch()
			if err != nil { // as where a container is not allowed to
				log.InfoContext(ctx, "process is not batch work to the scheduler", slog.Any("error", err))
			}
			return undo
		}
	}
	go p.run(prepare, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("cannot be started: %w", err)
	}
	if c.Nice > 0 {
		if err := lower(p.PID(), c.Nice); err != nil {
			log.WarnContext(ctx, "process does not give way to others", slog.Int(KeyPID, p.PID()), slog.Any("error", err))
		}
	}
	out.begin(p.PID())
	if err := ledger.add(p.PID(), c.Path, mark); err != nil {
		// Without the note a leftover would not be found after a crash: on Linux
		// the kernel sees to it, so this is no reason to refuse the work.
		log.WarnContext(ctx, "engine process not noted", slog.Int(KeyPID, p.PID()), slog.Any("error", err))
	}
	return p, nil
}

// run starts the child and waits for it on one thread of the system, which prepare
// makes what the child is to be until it has started: Linux ends a child with the thread
// that made it, not with the process.
func (p *Process) run(prepare func() (undo func() error), started chan<- error) {
	runtime.LockOSThread()
	undo := prepare()
	err := p.cmd.Start()
	if undo() == nil { // otherwise nobody else is to have the thread
		defer runtime.UnlockOSThread()
	}
	started <- err
	if err != nil {
		return
	}
	err = p.cmd.Wait()
	signalGroup(p.PID(), syscall.SIGKILL) // what it may have left behind
	p.out.end()
	p.ledger.remove(p.PID())
	p.err = p.explain(err)
	close(p.exited)
}

// PID returns the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the child has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Err says, once the child has ended, how: it is never nil then.
func (p *Process) Err() error {
	<-p.exited
	return p.err
}

// ExitCode returns, once the child has ended, its exit code; -1 when a signal
// ended it.
func (p *Process) ExitCode() int {
	<-p.exited
	return p.cmd.ProcessState.ExitCode()
}

// Stop asks the child to end, makes it end when grace has passed or ctx has
// ended, and returns when it is gone.
func (p *Process) Stop(ctx context.Context, grace time.Duration) {
	select {
	case <-p.exited:
		return
	default:
	}
	signalGroup(p.PID(), syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	select {
	case <-p.exited:
		return
	case <-ctx.Done():
	}
	signalGroup(p.PID(), syscall.SIGKILL)
	<-p.exited
}

// explain turns the outcome of Wait into words for people, with the last lines
// that the child wrote.
func (p *Process) explain(err error) error {
	what := "ended by itself"
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		what = describe(exit)
	} else if err != nil {
		what = err.Error()
	}
	if tail := p.out.tail(); tail != "" {
		return fmt.Errorf("the %s %s: %s", p.what, what, tail)
	}
	return fmt.Errorf("the %s %s", p.what, what)
}

func describe(exit *exec.ExitError) string {
	status, ok := exit.Sys().(syscall.WaitStatus)
	switch {
	case !ok || !status.Signaled():
		return fmt.Sprintf("ended with exit code %d", exit.ExitCode())
	case status.Signal() == syscall.SIGILL:
		return "was killed by SIGILL: its build does not fit this CPU"
	case status.Signal() == syscall.SIGKILL:
		return "was killed by SIGKILL: by hand, or because memory ran out"
	}
	return fmt.Sprintf("was killed by signal %d (%v)", int(status.Signal()), status.Signal())
}

// markOf returns the setting by which a child's own children are known.
func markOf(id string) string { return "POTERNE_ENGINE_MARK=" + id }

// environment leaves out this program's own settings.
func environment(all []string) []string {
	out := make([]string, 0, len(all))
	for _, kv := range all {
		if !strings.HasPrefix(kv, "POTERNE_") {
			out = append(out, kv)
		}
	}
	return out
}
