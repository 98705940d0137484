package httpapi

import (
	"net"
	"net/http"
)

// private lets in who is on this host, for routes that give log text or change something.
// Most have no other authentication. A web page that a browser on this host shows is kept out
// too: by its Origin and Sec-Fetch-Site; by the name it gave this address, if it did; and
// by a Content-Type that no form can have where there is a body.
func private(next http.HandlerFunc) http.HandlerFunc {
	var sites http.CrossOriginProtection
	return func(w http.ResponseWriter, req *http.Request) {
		switch {
		case !loopback(req.RemoteAddr):
			refuse(w, http.StatusForbidden, req.URL.Path+" answers this host alone; ask from where the agent runs")
		case !loopback(req.Host):
			refuse(w, http.StatusForbidden, req.URL.Path+" must be asked for by this host's address; use 127.0.0.1 or localhost")
		case sites.Check(req) != nil || req.Header.Get("Sec-Fetch-Site") == "cross-site":
			refuse(w, http.StatusForbidden, req.URL.Path+" does not answer other web sites")
		case req.Method == http.MethodPost && req.ContentLength != 0 && req.Header.Get("Content-Type") != "application/json":
			refuse(w, http.StatusUnsupportedMediaType, "the body must be JSON; send Content-Type: application/json")
		default:
			next(w, req)
		}
	}
}

// loopback tells whether host or host:port is this host's own address.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if len(host) > 2 && host[0] == '[' {
		host = host[1 : len(host)-1] // without a port
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
