package modelsource

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// HubModel is a directory of a model as Hugging Face's tools leave them.
type HubModel struct {
	// Name is `organisation/name` of one in a cache, and the directory's name
	// otherwise.
	Name string
	// Revision is the commit; empty outside of a cache.
	Revision string
	Dir      Dir
}

// HubModels returns the models at path: one, of a directory with the files of a
// model or `models--organisation--name`, or all of a hub cache. Of each the
// revision that `main` names is taken, and the newest where there is none.
func HubModels(path string) ([]HubModel, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(filepath.Base(path), "models--") {
		m, err := cached(path)
		return []HubModel{m}, err
	}
	var out []HubModel
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), "models--") {
			m, err := cached(filepath.Join(path, e.Name()))
			if err != nil {
				return nil, err
			}
			out = append(out, m)
		}
	}
	if len(out) == 0 {
		return []HubModel{{Name: filepath.Base(path), Dir: Dir{Path: path}}}, nil
	}
	return out, nil
}

// cached reads one repository of a cache (huggingface_hub's documentation,
// "Manage your cache").
func cached(path string) (HubModel, error) {
	m := HubModel{Name: strings.ReplaceAll(strings.TrimPrefix(filepath.Base(path), "models--"), "--", "/")}
	raw, err := os.ReadFile(filepath.Join(path, "refs", "main"))
	m.Revision = named(strings.TrimSpace(string(raw)), 40)
	if err != nil || m.Revision == "" {
		snapshots, err := os.ReadDir(filepath.Join(path, "snapshots"))
		if err != nil || len(snapshots) == 0 {
			return m, fmt.Errorf("%s has no snapshot: nothing of it was fetched", path)
		}
		newest := slices.MaxFunc(snapshots, func(a, b os.DirEntry) int { return int(modified(a) - modified(b)) })
		m.Revision = newest.Name()
	}
	m.Dir = Dir{Path: filepath.Join(path, "snapshots", m.Revision), Root: path}
	return m, nil
}

// modified is in seconds.
func modified(e os.DirEntry) int64 {
	info, err := e.Info()
	if err != nil {
		return 0
	}
	return info.ModTime().Unix()
}
