package bench

// Row is one line of a benchmark's table.
type Row struct {
	What     string `json:"what"`
	Measured string `json:"measured"`
	Bar      string `json:"bar"`
	Holds    bool   `json:"holds"`
}
