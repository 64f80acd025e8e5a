// Package bench measures what the project promises, each promise as a row with a
// bar. The scenarios run real services against simulated engines, whose speed
// and prefix cache follow the model that is written beside each, so that what is
// measured is scheduling and not a GPU. Start reading at Run.
package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

// Row is one promise, or without a Bar something to know beside one.
type Row struct {
	What     string `json:"what"`
	Measured string `json:"measured"`
	Bar      string `json:"bar"`
	Holds    bool   `json:"holds"`
}

// told is a row without a bar.
func told(what, measured string) Row { return Row{What: what, Measured: measured, Holds: true} }

// Scenario measures some rows.
type Scenario struct {
	Name string
	Run  func(ctx context.Context) ([]Row, error)
}

// Run runs the scenarios one after the other, prints their table on out, writes
// it as JSON to the file jsonPath unless that is empty, and reports whether all
// rows hold.
func Run(ctx context.Context, scenarios []Scenario, out io.Writer, jsonPath string) (bool, error) {
	var rows []Row
	for _, s := range scenarios {
		fmt.Fprintf(out, "running %s\n", s.Name)
		some, err := s.Run(ctx)
		if err != nil {
			return false, fmt.Errorf("%s: %w", s.Name, err)
		}
		rows = append(rows, some...)
	}
	hold, bars := 0, 0
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\nWHAT\tMEASURED\tBAR\tHOLDS")
	for _, r := range rows {
		answer := "no"
		switch {
		case r.Bar == "":
			answer = ""
		case r.Holds:
			answer = "yes"
			hold++
			fallthrough
		default:
			bars++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.What, r.Measured, r.Bar, answer)
	}
	if err := w.Flush(); err != nil {
		return false, err
	}
	if jsonPath != "" {
		text, err := json.MarshalIndent(rows, "", "  ")
		if err != nil {
			return false, err
		}
		if err := os.WriteFile(jsonPath, append(text, '\n'), 0o600); err != nil {
			return false, err
		}
	}
	fmt.Fprintf(out, "%d hold, %d fall short\n", hold, bars-hold)
	return hold == bars, nil
}
