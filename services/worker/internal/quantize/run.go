package quantize

import (
	"context"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/worker/internal/process"
)

const (
	// niceness lets engines come first.
	niceness = 10
	// stopGrace is how long a program that is asked to end may take.
	stopGrace = 3 * time.Second
)

// run runs a program and hands each piece of its output to see. The error is the
// context's, or says why it cannot be started; otherwise failure says how it ended
// unless that was with exit code 0.
func (m *Maker) run(ctx context.Context, what Program, name string, args []string, o Order, see func(piece string)) (failure, err error) {
	path, err := what.Path()
	if err != nil {
		return nil, apierr.Wrap(apierr.FailedPrecondition, err, "this worker has no %s", name)
	}
	out := &pieces{see: see}
	defer out.end()
	child, err := process.Start(ctx, process.Command{
		Path: path, Args: args, Dir: m.path(dirTemp), Output: out, Nice: niceness, Batch: true, What: name,
		// It computes where memory was set aside for it.
		Env: []string{"CUDA_VISIBLE_DEVICES=", "HIP_VISIBLE_DEVICES=", "GGML_VK_VISIBLE_DEVICES=", "OMP_WAIT_POLICY=passive"},
	}, m.parts.Ledger, m.parts.Log)
	if err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "%s cannot be started", name)
	}
	o.started(child.PID())
	defer o.started(0)
	select {
	case <-child.Exited():
	case <-ctx.Done():
		child.Stop(context.WithoutCancel(ctx), stopGrace)
		return nil, context.Cause(ctx)
	}
	out.end()
	if child.ExitCode() != 0 {
		return child.Err(), nil
	}
	return nil, nil
}

// says reports whether a program's last words hold one of the texts.
func says(failure error, texts ...string) bool {
	words := strings.ToLower(failure.Error())
	for _, t := range texts {
		if strings.Contains(words, t) {
			return true
		}
	}
	return false
}

// nearlyFull is what a disk has free when a program ran into its end.
const nearlyFull = 4 << 20

// explain turns how a program ended into an error for the caller. Not every program
// says that it was the disk.
func (j *job) explain(failure error) error {
	free, err := j.parts.DiskFree(j.cfg.Directory)
	switch {
	case err == nil && free < nearlyFull, says(failure, "no space left on device", "disk quota exceeded"):
		return apierr.New(apierr.FailedPrecondition, "the worker's disk is full: %v", failure)
	case says(failure, "requantizing from type"):
		return errQuantized()
	case says(failure, "importance matrix", "imatrix"):
		return apierr.New(apierr.FailedPrecondition, "this type needs an importance matrix, which is not made here: %v", failure)
	case says(failure, "out of memory", "failed to allocate", "bad_alloc", "sigkill"):
		return apierr.New(apierr.FailedPrecondition, "the worker's memory ran out: %v", failure)
	}
	return apierr.New(apierr.EngineFailed, "%v", failure)
}

func errQuantized() error {
	return apierr.New(apierr.FailedPrecondition, "the weights are quantised already, and making others from them loses more than from the originals: "+
		"give the originals, or set allow_requantize (on the command line --allow-requantize)").WithField("allow_requantize")
}
