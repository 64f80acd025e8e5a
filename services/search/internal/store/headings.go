package store

import "strings"

// encodeHeadings writes headings, none of which has a line end or is empty, a
// line each.
func encodeHeadings(list []string) string { return strings.Join(list, "\n") }

func decodeHeadings(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}
