package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/requestid"
)

// keptID returns the id in the file, or a new one that it then holds. The state
// directory is locked, so nobody else does the same.
func keptID(file string, source ids.Source) (string, error) {
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		id := source.New()
		if err := os.WriteFile(file, []byte(id+"\n"), 0o600); err != nil {
			return "", fmt.Errorf("keep the worker's id: %w", err)
		}
		return id, nil
	case err != nil:
		return "", fmt.Errorf("read the worker's id: %w", err)
	}
	id := strings.TrimSpace(string(data))
	if !requestid.Valid(id) { // the same characters
		return "", fmt.Errorf("%s holds no id: remove it, or set id", file)
	}
	return id, nil
}
