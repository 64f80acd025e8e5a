package explain

import (
	"encoding/json"
	"errors"
	"time"
)

// item is a decision, or the count of those omitted, in JSON.
type item struct {
	Step       Step        `json:"step,omitempty"`
	Outcome    string      `json:"outcome,omitempty"`
	Detail     string      `json:"detail,omitempty"`
	Start      int64       `json:"start_us,omitempty"`
	Duration   int64       `json:"duration_us,omitempty"`
	Attributes []Attribute `json:"attributes,omitempty"`
	Omitted    int         `json:"omitted,omitempty"`
}

// MarshalJSON writes decisions for whoever reads a record: a list, from which
// UnmarshalJSON makes the same bytes. What are no decisions, since somebody changed
// them, is written as base64.
func (e Encoded) MarshalJSON() ([]byte, error) {
	list, omitted, err := e.Decode()
	if err != nil {
		return json.Marshal([]byte(e))
	}
	out := make([]item, 0, len(list)+1)
	for _, d := range list {
		out = append(out, item{d.Step, d.Outcome, d.Detail, d.Start.Microseconds(), d.Duration.Microseconds(), d.Attributes, 0})
	}
	if omitted > 0 {
		out = append(out, item{Omitted: omitted})
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *Encoded) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, (*[]byte)(e))
	}
	var items []item
	if err := json.Unmarshal(data, &items); err != nil {
		return err
	}
	omitted := 0
	if n := len(items); n > 0 && items[n-1].Omitted > 0 {
		omitted, items = items[n-1].Omitted, items[:n-1]
	}
	if len(items) > MaxDecisions+1 {
		return errors.New("explain: too many decisions")
	}
	list := make([]Noted, len(items))
	for i, d := range items {
		if d.Start < 0 || d.Duration < 0 || uint64(d.Start) > maxMicros || uint64(d.Duration) > maxMicros {
			return errForm
		}
		list[i] = Noted{d.Step, d.Outcome, d.Detail, d.Attributes, time.Duration(d.Start) * time.Microsecond, time.Duration(d.Duration) * time.Microsecond}
	}
	*e = Encode(list, omitted)
	return nil
}
