// Command sbom fails for components of a bill of materials (CycloneDX JSON, on
// standard input) whose licence is not among those allowed, or is not known.
//
//	sbom ALLOWED KNOWN <BOM
//
// ALLOWED is licences (SPDX), KNOWN is a regular expression of modules that are
// not looked at; the former are joined by |.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

type bom struct {
	Components []struct {
		Name     string `json:"name"`
		Version  string `json:"version"`
		Evidence struct {
			Licenses []struct {
				License struct {
					ID string `json:"id"`
				} `json:"license"`
			} `json:"licenses"`
		} `json:"evidence"`
	} `json:"components"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: sbom ALLOWED KNOWN <BOM")
		os.Exit(2)
	}
	bad, err := check(os.Stdin, strings.Split(os.Args[1], "|"), os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
	for _, line := range bad {
		fmt.Println(line)
	}
	if len(bad) > 0 {
		os.Exit(1)
	}
}

func check(r io.Reader, allowed []string, known string) ([]string, error) {
	skip, err := regexp.Compile("^(" + known + ")$")
	if err != nil {
		return nil, err
	}
	var b bom
	if err := json.NewDecoder(r).Decode(&b); err != nil {
		return nil, err
	}
	if len(b.Components) == 0 {
		return nil, fmt.Errorf("no components: this is no bill of materials")
	}
	var bad []string
	for _, c := range b.Components {
		if skip.MatchString(c.Name) {
			continue
		}
		licences := make([]string, 0, len(c.Evidence.Licenses))
		for _, l := range c.Evidence.Licenses {
			licences = append(licences, l.License.ID)
		}
		if !slices.ContainsFunc(licences, func(l string) bool { return slices.Contains(allowed, l) }) {
			bad = append(bad, fmt.Sprintf("%s@%s: %q", c.Name, c.Version, licences))
		}
	}
	return bad, nil
}
