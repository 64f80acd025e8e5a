package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Marshal returns cfg as the YAML file that would give it, secrets masked.
func Marshal(cfg any) ([]byte, error) {
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(cfg); err != nil {
		return nil, fmt.Errorf("print the configuration: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("print the configuration: %w", err)
	}
	return []byte(b.String()), nil
}

// suggest names the candidate nearest to what was written, if one is near.
func suggest(got string, candidates []string) string {
	best, bestDistance := "", 3
	for _, c := range candidates {
		if d := distance(got, c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// distance is the Levenshtein distance; texts longer than any key are far.
func distance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
