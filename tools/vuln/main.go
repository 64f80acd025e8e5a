// Command vuln writes the Go vulnerability database, as golang.org/x/vulndb has
// it in this module's go.sum, in the form that govulncheck reads from a directory
// (https://go.dev/doc/security/vuln/database): so that what is checked against is
// pinned, and no network is needed.
//
//	go run . REPORTS OUT
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// entry is what the index needs of a report (OSV, https://ossf.github.io/osv-schema).
type entry struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Affected []struct {
		Package struct {
			Name string `json:"name"`
		} `json:"package"`
		Ranges []struct {
			Events []struct {
				Fixed string `json:"fixed"`
			} `json:"events"`
		} `json:"ranges"`
	} `json:"affected"`
}

// moduleVuln is a vulnerability in the index of modules.
type moduleVuln struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Fixed    string    `json:"fixed,omitempty"` // the last one; empty while it is not
}

type module struct {
	Path  string       `json:"path"`
	Vulns []moduleVuln `json:"vulns"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: vuln REPORTS OUT")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(1)
	}
}

func write(reports, out string) error {
	files, err := filepath.Glob(filepath.Join(reports, "*.json"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no reports in %s", reports)
	}
	for _, dir := range []string{"ID", "index"} {
		if err := os.MkdirAll(filepath.Join(out, dir), 0o755); err != nil {
			return err
		}
	}
	modules := make(map[string][]moduleVuln)
	var latest time.Time
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var e entry
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(out, "ID", e.ID+".json"), data, 0o644); err != nil {
			return err
		}
		if e.Modified.After(latest) {
			latest = e.Modified
		}
		for path, fixed := range fixes(e) {
			modules[path] = append(modules[path], moduleVuln{ID: e.ID, Modified: e.Modified, Fixed: fixed})
		}
	}
	var index []module
	for path, vulns := range modules {
		slices.SortFunc(vulns, func(a, b moduleVuln) int { return strings.Compare(a.ID, b.ID) })
		index = append(index, module{Path: path, Vulns: vulns})
	}
	slices.SortFunc(index, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	if err := writeJSON(filepath.Join(out, "index", "modules.json"), index); err != nil {
		return err
	}
	return writeJSON(filepath.Join(out, "index", "db.json"), map[string]time.Time{"modified": latest})
}

// fixes returns the last fix of each module that a report is about; "" where one
// of its ranges has none.
func fixes(e entry) map[string]string {
	out := make(map[string]string)
	open := make(map[string]bool)
	for _, a := range e.Affected {
		path := a.Package.Name
		for _, r := range a.Ranges {
			fixed := ""
			for _, ev := range r.Events {
				if ev.Fixed != "" && (fixed == "" || semver.Compare("v"+ev.Fixed, "v"+fixed) > 0) {
					fixed = ev.Fixed
				}
			}
			if fixed == "" {
				open[path] = true
			}
			if have, ok := out[path]; !ok || semver.Compare("v"+fixed, "v"+have) > 0 {
				out[path] = fixed
			}
		}
	}
	for path := range open {
		out[path] = ""
	}
	return out
}

func writeJSON(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o644)
}
