package parts

import (
	"io"
	"os"
	"strings"
	"testing"
)

// machine is a machine with some environment, files and programs.
func machine(env map[string]string, files map[string]string, path map[string]string) System {
	return System{
		Getenv: func(k string) string { return env[k] },
		LookPath: func(p string) (string, error) {
			if full, ok := path[p]; ok {
				return full, nil
			}
			return "", os.ErrNotExist
		},
		Stat: func(p string) error {
			if _, ok := files[p]; ok {
				return nil
			}
			return os.ErrNotExist
		},
		Open: func(p string) (io.ReadCloser, error) {
			if content, ok := files[p]; ok {
				return io.NopCloser(strings.NewReader(content)), nil
			}
			return nil, os.ErrNotExist
		},
	}
}

func TestEnvironmentComesBeforeNotesBeforePath(t *testing.T) {
	env := map[string]string{"HOME": "/home/ada", "POTERNE_WEIGHTS_CHAT": "/mine.gguf"}
	files := map[string]string{
		"/home/ada/.cache/poterne/parts.env": "POTERNE_LLAMA_SERVER=/cache/llama server\nPOTERNE_WEIGHTS_CHAT=/cache/chat.gguf\nnonsense\n",
		"/cache/llama server":                "", "/mine.gguf": "",
	}
	p, err := Locate(machine(env, files, map[string]string{"llama-server": "/usr/bin/llama-server"}))
	if err != nil {
		t.Fatal(err)
	}
	if p.LlamaServer != "/cache/llama server" || p.ChatModel != "/mine.gguf" || p.Ollama != "" {
		t.Errorf("found %+v", p)
	}
}

func TestEnginesOfTheMachine(t *testing.T) {
	p, err := Locate(machine(map[string]string{"HOME": "/h"}, nil, map[string]string{"llama-server": "/usr/bin/llama-server", "ollama": "/usr/bin/ollama"}))
	if err != nil || p.LlamaServer != "/usr/bin/llama-server" || p.Ollama != "" {
		t.Errorf("found %+v, %v", p, err)
	}
	p, err = Locate(machine(nil, nil, map[string]string{"ollama": "/usr/bin/ollama"}))
	if err != nil || p.Ollama != "/usr/bin/ollama" {
		t.Errorf("found %+v, %v", p, err)
	}
}

func TestANamedPathMustBeThere(t *testing.T) {
	_, err := Locate(machine(map[string]string{"POTERNE_LLAMA_SERVER": "/gone"}, nil, nil))
	if err == nil || !strings.Contains(err.Error(), "POTERNE_LLAMA_SERVER") {
		t.Errorf("error %v", err)
	}
}

func TestTheQuantiserMayBeMissing(t *testing.T) {
	notes := map[string]string{
		"/h/.cache/poterne/parts.env": "POTERNE_LLAMA_QUANTIZE=/gone\nPOTERNE_LLAMA_PERPLEXITY=/there\n", "/there": "",
	}
	p, err := Locate(machine(map[string]string{"HOME": "/h"}, notes, nil))
	if err != nil || p.LlamaQuantize != "" || p.LlamaPerplexity != "/there" {
		t.Errorf("noted: found %+v, %v", p, err)
	}
	_, err = Locate(machine(map[string]string{"HOME": "/h", "POTERNE_LLAMA_QUANTIZE": "/gone"}, notes, nil))
	if err == nil || !strings.Contains(err.Error(), "POTERNE_LLAMA_QUANTIZE") {
		t.Errorf("named: error %v", err)
	}
}
