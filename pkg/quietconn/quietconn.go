// Package quietconn is for who asks on a connection that was kept: Probe tells whether it
// may carry another request, and Asker writes that and waits for the answer. Reader is for
// many that wait: it holds no buffer meanwhile. It knows no protocol.
package quietconn
