package httpapi

import (
	_ "embed"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/logcapturer/log_capturer/internal/deadletter/office"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/source"
)

// description is the OpenAPI document of all routes; a test holds it against them.
//
//go:embed openapi.yaml
var description []byte

// Routes is what server.listen tells about. The functions are called for each request,
// from many goroutines.
type Routes struct {
	Registry *prometheus.Registry
	Health   func() health.Report
	// Ready tells whether the agent has started whole.
	Ready func() bool
	// Containers returns how each captured container is read, in any order. The slice is
	// the caller's.
	Containers func() []source.Status
	// DeadLetters are listed for everybody, and shown and changed for this host alone.
	DeadLetters office.Desk
	// Reload reads the configuration again and returns the keys that changed; for this host
	// alone.
	Reload func() ([]string, error)
	// Resources takes a census of what the agent holds. The error tells what could not be
	// counted.
	Resources func() (ledger.Snapshot, error)
	// Components are listed for everybody, and switched for who is on this host and has
	// Token. Without a Token nobody has.
	Components Components
	Token      string
}

// route is a path that answers one method; GET answers HEAD too.
type route struct {
	method, path string
	handle       http.HandlerFunc
}

// table lists all routes.
func (r Routes) table() []route {
	metrics := promhttp.HandlerFor(r.Registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	return []route{
		{"GET", "/", index},
		{"GET", "/metrics", metrics.ServeHTTP},
		{"GET", "/health", r.health},
		{"GET", "/ready", r.ready},
		{"GET", apiPrefix + "v1/containers", r.containers},
		{"GET", apiPrefix + "v1/openapi.yaml", describe},
		{"GET", PathResources, r.resources},
		{"GET", office.PathList, r.deadLetters},
		{"GET", office.PathEntries, private(r.deadEntries)},
		{"POST", office.PathReplay, private(r.replay)},
		{"POST", office.PathPurge, private(r.purge)},
		{"POST", PathReload, private(r.reload)},
		{"GET", PathComponents, r.components},
		{"POST", PathComponents + "/{name}", private(r.authenticated(r.switchComponent))},
	}
}

const apiPrefix = "/api/"

// PathResources answers with a ledger.Snapshot.
const PathResources = apiPrefix + "v1/resources"

// Handler returns the routes of server.listen.
func Handler(r Routes) http.Handler {
	mux := http.NewServeMux()
	for _, route := range r.table() {
		pattern := route.path
		if strings.HasSuffix(pattern, "/") {
			pattern += "{$}" // itself, not what is below it
		}
		mux.HandleFunc(route.method+" "+pattern, route.handle)
		if strings.HasPrefix(pattern, apiPrefix) {
			mux.HandleFunc(pattern, route.others) // else the path would be an unknown one for other methods
		}
	}
	mux.HandleFunc(apiPrefix, unknown)
	return mux
}

func (r Routes) health(w http.ResponseWriter, _ *http.Request) {
	report := r.Health()
	status := http.StatusOK
	if report.Status == health.Unhealthy {
		status = http.StatusServiceUnavailable
	}
	reply(w, status, report)
}

func (r Routes) ready(w http.ResponseWriter, _ *http.Request) {
	ready, status := r.Ready(), http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
	}
	reply(w, status, map[string]bool{"ready": ready})
}

// containers answers with the containers that are captured, or those whose name
// matches the glob ?name=.
func (r Routes) containers(w http.ResponseWriter, req *http.Request) {
	glob := req.URL.Query().Get("name")
	if !doublestar.ValidatePattern(glob) {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("name: %q is no glob; use *, ?, [a-z] and {a,b}, and a backslash before such a character that is meant itself", glob))
		return
	}
	all := r.Containers()
	list := make([]source.Status, 0, len(all)) // [] and not null when there are none
	for _, c := range all {
		if glob == "" || doublestar.MatchUnvalidated(glob, c.Name) {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b source.Status) int {
		if by := strings.Compare(a.Name, b.Name); by != 0 {
			return by // a name can be given to a new container while the old one's rest is read
		}
		return strings.Compare(a.ID, b.ID)
	})
	reply(w, http.StatusOK, map[string][]source.Status{"containers": list})
}

func (r Routes) resources(w http.ResponseWriter, _ *http.Request) {
	s, err := r.Resources()
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	reply(w, http.StatusOK, s)
}

func describe(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(description)
}

// others answers the methods that the route does not have.
func (r route) others(w http.ResponseWriter, req *http.Request) {
	allow, why := "GET, HEAD", fmt.Sprintf("%s is read only; use GET", req.URL.Path)
	if r.method != http.MethodGet {
		allow, why = r.method, fmt.Sprintf("%s changes something; use %s", req.URL.Path, r.method)
	}
	w.Header().Set("Allow", allow)
	refuse(w, http.StatusMethodNotAllowed, why)
}

func unknown(w http.ResponseWriter, req *http.Request) {
	refuse(w, http.StatusNotFound, fmt.Sprintf("there is no %s; %sv1/openapi.yaml describes what there is", req.URL.Path, apiPrefix))
}

// refuse answers a request below /api/ that cannot be done.
func refuse(w http.ResponseWriter, status int, why string) {
	reply(w, status, map[string]string{"error": why})
}
