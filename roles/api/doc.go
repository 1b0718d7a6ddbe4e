// Package api is the operators' HTTP API: its server, its Go client and its OpenAPI description. Beside it, at /, is the
// operators' web page (package page), which shows what the API says.
//
// The server answers JSON under /v1 on a unix socket, where file permissions say who may, on a loopback TCP
// address, and on another one over TLS. Reads carry the store's revision as their ETag (RFC 9110 §8.8.3) and can
// wait for a later one (?rev=); events and image builds are streamed, one JSON object a line. Errors are the io/fs
// kinds, mapped in one table that the server and the client share, so that errors.Is works on both sides of the
// wire.
//
// The package decides nothing: it calls the Rack, which is roles.Registry, and the few functions that the
// program gives it. It deliberately serves no file to a booting machine (package httpboot does), has no users
// and no sessions, and is never reachable from another machine without a token and TLS.
package api
