package testkit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// readyTimeout bounds the wait for a server to answer, stopTimeout the wait for
// it to end by itself.
const (
	readyTimeout = 3 * time.Minute
	stopTimeout  = 10 * time.Second
	pollEvery    = 20 * time.Millisecond
)

// Command says how to start a process.
type Command struct {
	// Name is for messages.
	Name string
	Path string
	Args []string
	// Env is added to this process's environment.
	Env []string
	Dir string
	// User runs the process as that user when this one is root, for servers that
	// refuse to run as root.
	User string
	// Ready returns nil once the process can be used; nil waits for nothing.
	Ready func(ctx context.Context) error
}

// Process is a running process, ended with the test.
type Process struct {
	tb   testing.TB
	name string
	cmd  *exec.Cmd
	out  *tail
	done chan struct{}
	err  error // of Wait, once done is closed
}

// Start starts the process and waits until it is ready. The test fails with the
// end of its output when it ends before that, or takes too long.
func Start(tb testing.TB, c Command) *Process {
	tb.Helper()
	p := &Process{tb: tb, name: c.Name, out: new(tail), done: make(chan struct{})}
	// Ended by Cleanup and not by the test's context, which ends before it.
	p.cmd = exec.CommandContext(context.WithoutCancel(tb.Context()), c.Path, c.Args...)
	p.cmd.Dir, p.cmd.Env = c.Dir, append(os.Environ(), c.Env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	attr, err := processAttributes(c.User)
	if err != nil {
		tb.Fatalf("%s: %v", c.Name, err)
	}
	p.cmd.SysProcAttr = attr
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("%s: %v", c.Name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	tb.Cleanup(p.Stop)
	if c.Ready != nil {
		p.waitReady(c.Ready)
	}
	return p
}

func (p *Process) waitReady(ready func(context.Context) error) {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.tb.Context(), readyTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var last error
	for {
		if last = ready(ctx); last == nil {
			return
		}
		select {
		case <-p.done:
			p.tb.Fatalf("%s ended before it was ready: %v\n%s", p.name, p.err, p.out)
		case <-ctx.Done():
			p.tb.Fatalf("%s was not ready in time: %v\n%s", p.name, last, p.out)
		case <-tick.C:
		}
	}
}

// PID returns the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output returns the end of what the process has written.
func (p *Process) Output() string { return p.out.String() }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends sig to the process alone.
func (p *Process) Signal(sig syscall.Signal) {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.tb.Errorf("%s: signal %v: %v", p.name, sig, err)
	}
}

// Kill ends the process as a crash would and waits until it is gone.
func (p *Process) Kill() {
	p.tb.Helper()
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Stop asks the process to end, makes it end when it does not, and waits. It
// may be called more than once.
func (p *Process) Stop() {
	p.tb.Helper()
	select {
	case <-p.done:
		return
	default:
	}
	p.Signal(syscall.SIGTERM)
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.Kill()
	}
}

// ExitCode waits for the end and returns the exit code, -1 after a signal.
func (p *Process) ExitCode() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// tail keeps the last 16 KiB that were written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	const most = 16 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - most; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.Clone(t.buf))
}

// ReadyTCP returns a Ready that waits until addr accepts connections.
func ReadyTCP(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// ReadyHTTP returns a Ready that waits until url answers 200.
func ReadyHTTP(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, resp.Status)
		}
		return nil
	}
}
