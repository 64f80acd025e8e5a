package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/poterne/poterne/services/worker/internal/process"
)

// Program is an executable and the arguments that come first.
type Program struct {
	argv []string

	mu   sync.Mutex
	help string
	// devices is what the program says of its devices; empty: not asked yet.
	devices string
}

// NewProgram returns the program of the given argv: its first element is a
// path, or a name that is looked for beside this executable and then in PATH.
func NewProgram(argv ...string) *Program { return &Program{argv: argv} }

var errNoProgram = errors.New("no program is configured")

// Path returns where the program is.
func (p *Program) Path() (string, error) {
	if len(p.argv) == 0 || p.argv[0] == "" {
		return "", errNoProgram
	}
	name := p.argv[0]
	if !strings.ContainsRune(name, filepath.Separator) {
		if self, err := os.Executable(); err == nil {
			if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), name)); err == nil {
				return path, nil
			}
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is not installed: %w", name, err)
	}
	return filepath.Abs(path)
}

// first returns the arguments that come first.
func (p *Program) first() []string { return p.argv[1:] }

// knows reports whether the program's help names the flag: versions differ, and
// most refuse to start with a flag that they do not know.
func (p *Program) knows(ctx context.Context, flag string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.help == "" {
		path, err := p.Path()
		if err != nil {
			return false
		}
		// The outcome does not matter: some print their help and exit with 1.
		answer, err := process.Ask(ctx, path, append(p.first(), "--help")...)
		if err != nil {
			return false
		}
		p.help = answer.Text()
	}
	return strings.Contains(p.help, "--"+flag)
}

// helpText is the program's help, once knows has asked for it.
func (p *Program) helpText() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.help
}

// exitWithStdin is the flag by which our launchers follow their parent.
const exitWithStdin = "exit-with-stdin"

func (p *Program) stdinFlag(ctx context.Context) []string {
	if p.knows(ctx, exitWithStdin) {
		return []string{"--" + exitWithStdin}
	}
	return nil
}
