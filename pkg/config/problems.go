package config

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with the configuration.
type Problem struct {
	// Source says where the value came from: "file:line:column", an environment
	// variable, "flag", or "" when the value itself is at fault.
	Source string
	// Path is the setting's path, such as server.addr; "" for a whole file.
	Path string
	// Message says what is wrong, to be read after the path.
	Message string
}

func (p Problem) String() string {
	var b strings.Builder
	if p.Source != "" {
		b.WriteString(p.Source + ": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Errors is every problem of one configuration. It is never empty as an error.
type Errors []Problem

func (e Errors) Error() string {
	var b strings.Builder
	if len(e) == 1 {
		b.WriteString("the configuration has 1 problem:")
	} else {
		fmt.Fprintf(&b, "the configuration has %d problems:", len(e))
	}
	for _, p := range e {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// Problems collects problems, so that a Complete method can report all of them
// at once. The zero value is ready; it is not safe for concurrent use.
type Problems struct{ list Errors }

// Add notes that the setting at path is wrong.
func (p *Problems) Add(path, format string, args ...any) {
	p.AddAt("", path, format, args...)
}

// AddAt is Add for a value that came from source.
func (p *Problems) AddAt(source, path, format string, args ...any) {
	p.list = append(p.list, Problem{Source: source, Path: path, Message: fmt.Sprintf(format, args...)})
}

// Check notes the problem unless ok holds.
func (p *Problems) Check(ok bool, path, format string, args ...any) {
	if !ok {
		p.Add(path, format, args...)
	}
}

// Err returns Errors, or nil when nothing was noted.
func (p *Problems) Err() error {
	if len(p.list) == 0 {
		return nil
	}
	return p.list
}
