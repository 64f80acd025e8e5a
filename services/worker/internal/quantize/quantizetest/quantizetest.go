// Package quantizetest is llama-quantize and llama-perplexity as a test wants them:
// the test's own program under their names. It is for tests alone; start reading at
// New.
package quantizetest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The ways in which a program behaves.
const (
	Good       = "good"
	Crash      = "crash"      // it is killed half way
	Rubbish    = "rubbish"    // what it writes means nothing, and it ends with 0
	Slow       = "slow"       // it is half done and goes on for long
	DiskFull   = "disk full"  //
	NoMemory   = "no memory"  //
	Requantize = "requantize" // it finds that the weights are quantised
	Matrix     = "matrix"     // it wants an importance matrix
	Short      = "short"      // it finds the text too short
	NaN        = "nan"        // what it finds is no number
)

const (
	quantize   = "llama-quantize"
	perplexity = "llama-perplexity"
	fileCalls  = "calls"
)

// Magic is how a file of weights begins, as far as the fakes can tell.
const Magic = "GGUF"

// Tools are the two programs, in a directory of their own.
type Tools struct {
	tb  testing.TB
	dir string
}

// New makes them, both good. The test's TestMain must call Main.
func New(tb testing.TB) *Tools {
	tb.Helper()
	t := &Tools{tb: tb, dir: tb.TempDir()}
	tb.Setenv("GORACE", "atexit_sleep_ms=0") // a program under the race detector ends a second late otherwise
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range []string{quantize, perplexity} {
		if err := os.Symlink(self, filepath.Join(t.dir, name)); err != nil {
			tb.Fatal(err)
		}
	}
	t.Quantize(Good)
	t.Perplexity(Good)
	return t
}

// Quantize has llama-quantize behave so from now on.
func (t *Tools) Quantize(mode string) { t.set(quantize, mode) }

// Perplexity has llama-perplexity behave so from now on.
func (t *Tools) Perplexity(mode string) { t.set(perplexity, mode) }

func (t *Tools) set(name, mode string) {
	t.tb.Helper()
	if err := os.WriteFile(filepath.Join(t.dir, name+".mode"), []byte(mode), 0o600); err != nil {
		t.tb.Fatal(err)
	}
}

// QuantizeProgram and PerplexityProgram are where they are.
func (t *Tools) QuantizeProgram() Program { return Program(filepath.Join(t.dir, quantize)) }

// PerplexityProgram is where llama-perplexity is.
func (t *Tools) PerplexityProgram() Program { return Program(filepath.Join(t.dir, perplexity)) }

// Program is a path; what is not there has an error.
type Program string

// Path returns it.
func (p Program) Path() (string, error) {
	_, err := os.Stat(string(p))
	return string(p), err
}

// Calls returns the command lines since the last time, oldest first; --help counts
// as none.
func (t *Tools) Calls() []string {
	t.tb.Helper()
	path := filepath.Join(t.dir, fileCalls)
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.tb.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.tb.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// Main is one of the programs, if this process was started as one, and returns its
// exit code.
func Main() (code int, is bool) {
	name := filepath.Base(os.Args[0])
	if name != quantize && name != perplexity {
		return 0, false
	}
	if slices.Contains(os.Args, "--help") {
		fmt.Fprint(os.Stdout, help)
		return 1, true
	}
	dir := filepath.Dir(os.Args[0])
	mode, err := os.ReadFile(filepath.Join(dir, name+".mode"))
	if err == nil {
		err = note(filepath.Join(dir, fileCalls), name+" "+strings.Join(os.Args[1:], " "))
	}
	if err != nil {
		say("%v", err)
		return 3, true
	}
	switch string(mode) {
	case DiskFull:
		say("ggml: write failed: No space left on device")
		return 1, true
	case NoMemory:
		say("ggml_aligned_malloc: failed to allocate 1024.00 MB")
		return 1, true
	case Rubbish:
		say("[ 1/\x00 2]\n[99999999999/1] x\n[3]abc,[x]1.0,Final estimate: PPL = twelve +/- some,,,\xff")
		return 0, true
	}
	if name == quantize {
		return quantizeMain(string(mode), os.Args[1:]), true
	}
	return perplexityMain(string(mode), os.Args[1:]), true
}

func note(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = fmt.Fprintln(f, line)
	return err
}

const help = `usage: llama-quantize [--help] model-in.gguf model-out.gguf type
   2  or  Q4_0    :  4.34G
  12  or  Q3_K    : alias for Q3_K_M
  15  or  Q4_K_M  :  4.58G
   7  or  Q8_0    :  7.96G
  19  or  IQ2_XXS :  2.06 bpw quantization
          COPY    : only copy tensors, no quantizing
`

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func quantizeMain(mode string, args []string) int {
	requantize := args[0] == "--allow-requantize"
	if requantize {
		args = args[1:]
	}
	in, err := os.ReadFile(args[0])
	if err != nil {
		say("%v", err)
		return 1
	}
	say("main: build = 4711 (abc123)")
	out := append([]byte(Magic+" "+args[2]+" of "), bytes.TrimPrefix(in, []byte(Magic))...)
	if err := os.WriteFile(args[1], out[:len(out)/2], 0o600); err != nil {
		say("%v", err)
		return 1
	}
	say("[   1/   4]                    output_norm.weight - [   576,      1,      1,      1], type =    f32, size =    0.002 MiB")
	say("[   2/   4]                    token_embd.weight - [   576,  49152,      1,      1], type =   f16, converting to q8_0 .. size =  1.00 MiB -> 0.50 MiB")
	switch mode {
	case Crash:
		kill()
	case Slow:
		time.Sleep(time.Hour) //nolint:forbidigo // it is killed long before
	case Requantize:
		say("llama_model_quantize: failed to quantize: requantizing from type q4_1 is disabled")
		return 1
	case Matrix:
		say("llama_model_quantize: failed to quantize: this quantization requires an importance matrix!")
		return 1
	}
	if err := os.WriteFile(args[1], out, 0o600); err != nil {
		say("%v", err)
		return 1
	}
	say("[   4/   4]                    blk.0.attn_k.weight - [   576,    192,      1,      1], type =   f16,")
	return 0
}

func perplexityMain(mode string, args []string) int {
	model, err := os.ReadFile(args[slices.Index(args, "-m")+1])
	if err != nil {
		say("%v", err)
		return 1
	}
	if mode == Short {
		say("perplexity: you need at least 1024 tokens to evaluate perplexity with a context of 512")
		say("perplexity: the data file you provided tokenizes to only 37 tokens")
		return 0
	}
	say("perplexity: calculating perplexity over 4 chunks, n_ctx=512, batch_size=512, n_seq=1")
	fmt.Fprint(os.Stderr, "[1]11.0001,[2]10.5000,")
	switch mode {
	case Crash:
		kill()
	case Slow:
		time.Sleep(time.Hour) //nolint:forbidigo // it is killed long before
	case NaN:
		say("[3]nan,[4]nan,\nFinal estimate: PPL = nan +/- nan")
		return 0
	}
	value := "10.2500 +/- 0.50000"
	if bytes.Contains(model, []byte(" of ")) {
		value = "12.5000 +/- 0.62500"
	}
	say("[3]10.3000,[4]10.2500,\n\nFinal estimate: PPL = %s", value)
	return 0
}

// kill ends this process as the system does.
func kill() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
	select {}
}
