package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const (
	// askTimeout bounds how long a program may take to answer: those that bring
	// CUDA along need seconds to print their help on a busy start.
	askTimeout = 20 * time.Second
	// MaxAnswer bounds what is kept of each of a program's two outputs, in bytes.
	MaxAnswer = 1 << 20
)

// ErrSilent is returned for a program that has not ended in time.
var ErrSilent = errors.New("the program does not answer in time")

// Answer is what a program that was asked has written.
type Answer struct {
	// Out and Err are the first MaxAnswer bytes of its outputs, and Over says that
	// there was more.
	Out, Err []byte
	Over     bool
	// Code is its exit code; -1 when a signal ended it.
	Code int
}

// Text is both outputs, for programs of which it is not known where they write:
// first what they complain of.
func (a Answer) Text() string { return string(a.Err) + "\n" + string(a.Out) }

// Ask runs a program that tells something and ends, such as with --help, without
// this program's own settings. It waits for at most 20 s, or until ctx ends; then
// the program and what it has started are ended, and the error is ErrSilent with
// the cause. A program that ends with another code than 0 has answered: the other
// error is only that it cannot be started.
func Ask(ctx context.Context, path string, args ...string) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	// Linux ends a child with the thread that made it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, path, args...)
	var out, said head
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &said, outputDelay
	cmd.Env, cmd.SysProcAttr = environment(os.Environ()), attributes()
	cmd.Cancel = func() error {
		signalGroup(cmd.Process.Pid, syscall.SIGKILL) // a launcher's child holds the output open
		return nil
	}
	err := cmd.Run()
	if cmd.Process != nil {
		signalGroup(cmd.Process.Pid, syscall.SIGKILL) // what it may have left behind
	}
	switch {
	case ctx.Err() != nil:
		return Answer{}, fmt.Errorf("%w: %w", ErrSilent, context.Cause(ctx))
	case cmd.ProcessState == nil:
		return Answer{}, fmt.Errorf("cannot be started: %w", err)
	}
	return Answer{Out: out.data, Err: said.data, Over: out.over || said.over, Code: cmd.ProcessState.ExitCode()}, nil
}

// head keeps the first MaxAnswer bytes of what is written to it.
type head struct {
	data []byte
	over bool
}

// Write takes all of it: a program must not block or die for its output.
func (h *head) Write(b []byte) (int, error) {
	keep := min(len(b), MaxAnswer-len(h.data))
	h.data = append(h.data, b[:keep]...)
	h.over = h.over || keep < len(b)
	return len(b), nil
}
