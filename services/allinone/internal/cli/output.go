package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/goccy/go-yaml"

	"github.com/poterne/poterne/services/allinone/internal/declare"
)

// column is one column of a table: its heading, and where its value lies in an
// item (`a.b` goes into objects). A value of an enumeration is shown as a word,
// without prefix; where prefix is "0", no number is shown for 0.
type column struct{ title, path, prefix string }

// columns reads "TITLE path" and "TITLE path PREFIX_".
func columns(of ...string) []column {
	out := make([]column, 0, len(of))
	for _, c := range of {
		title, path, _ := strings.Cut(c, " ")
		path, prefix, _ := strings.Cut(path, " ")
		out = append(out, column{title, path, prefix})
	}
	return out
}

// of is what an item has in the column.
func (c column) of(item any) string {
	text := cell(lookup(item, c.path))
	switch {
	case c.prefix == "":
		return text
	case c.prefix == "0" && text == "0", text == c.prefix+"UNSPECIFIED":
		return "-"
	case strings.HasPrefix(text, c.prefix):
		return enumWord(text, c.prefix)
	}
	return text
}

// print writes items as the chosen output asks. For JSON and YAML the value is
// written whole, so that scripts lose nothing.
func (a *app) print(value any, cols []column) error {
	switch a.settings.output {
	case "json":
		enc := json.NewEncoder(a.streams.Out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(value)
	case "yaml":
		raw, err := yaml.Marshal(declare.Numbers(value))
		if err != nil {
			return fmt.Errorf("write yaml: %w", err)
		}
		_, err = a.streams.Out.Write(raw)
		return err
	case "table":
		return a.table(value, cols)
	}
	return usagef("--output must be table, json or yaml, got %q", a.settings.output)
}

func (a *app) table(value any, cols []column) error {
	items, ok := value.([]any)
	if !ok {
		items = []any{value}
	}
	w := tabwriter.NewWriter(a.streams.Out, 2, 8, 2, ' ', 0)
	titles := make([]string, len(cols))
	for i, c := range cols {
		titles[i] = c.title
	}
	fmt.Fprintln(w, strings.Join(titles, "\t"))
	for _, item := range items {
		cells := make([]string, len(cols))
		for i, c := range cols {
			cells[i] = c.of(item)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

func lookup(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[name]
	}
	return v
}

func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case string:
		if v == "" {
			return "-"
		}
		// A terminal must not obey what a document says.
		return strings.Map(func(r rune) rune {
			if obeyed(r) {
				return ' '
			}
			return r
		}, v)
	case []string:
		if len(v) == 0 {
			return "-"
		}
		return cell(strings.Join(v, "; "))
	case []any:
		parts := make([]string, len(v))
		for i, p := range v {
			parts[i] = cell(p)
		}
		if len(parts) == 0 {
			return "-"
		}
		return strings.Join(parts, ",")
	case map[string]any:
		return pairs(v)
	}
	return fmt.Sprint(v)
}

// obeyed reports whether a terminal may do what r says, in place of showing it:
// control characters, those of 8 bits too, and what turns the direction of text.
func obeyed(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}

// pairs writes an object of plain values, such as aliases, as k=v, k2=v2, and any
// other as JSON.
func pairs(object map[string]any) string {
	if len(object) == 0 {
		return "-"
	}
	parts := make([]string, 0, len(object))
	for _, name := range slices.Sorted(maps.Keys(object)) {
		switch value := object[name].(type) {
		case map[string]any, []any:
			raw, _ := json.Marshal(object)
			return string(raw)
		default:
			parts = append(parts, cell(name)+"="+cell(value))
		}
	}
	return strings.Join(parts, ", ")
}
