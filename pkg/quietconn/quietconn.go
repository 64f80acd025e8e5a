// Package quietconn tells of a connection that was kept whether it may carry another
// request. It knows no protocol; start reading at Probe.
package quietconn
