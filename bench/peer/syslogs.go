package peer

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/logcapturer/log_capturer/bench/null"
)

// libraries returns the environment and the directory of modules of a package that was
// unpacked, or installed, at root.
func libraries(root, modules string) (env []string, dir string) {
	found, _ := filepath.Glob(filepath.Join(root, "usr/lib", modules)) // the pattern is good
	if len(found) == 0 {
		return nil, ""
	}
	if root == "/" {
		return nil, found[len(found)-1]
	}
	var path []string
	for _, pattern := range []string{"usr/lib/*-linux-gnu*", "lib/*-linux-gnu*", "usr/lib/syslog-ng"} {
		dirs, _ := filepath.Glob(filepath.Join(root, pattern))
		path = append(path, dirs...)
	}
	return []string{"LD_LIBRARY_PATH=" + strings.Join(path, ":")}, found[len(found)-1]
}

// rsyslog sends a request a line unless it is told to send bulks.
func rsyslog(root string, j Job) command {
	env, modules := libraries(root, "*-linux-gnu*/rsyslog")
	host, port, err := net.SplitHostPort(j.Server)
	if err != nil {
		host = j.Server
	}
	parse, property := "", "msg"
	if j.Records {
		parse, property = `module(load="mmjsonparse")`+"\n", "$!log"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "global(workDirectory=%q maxMessageSize=\"64k\")\nmodule(load=\"imfile\")\nmodule(load=\"omelasticsearch\")\n%s", j.Dir, parse)
	fmt.Fprintf(&b, `template(name="doc" type="list") { constant(value="{\"message\":\"") property(name=%q format="json") constant(value="\"}") }`+"\n", property)
	for _, glob := range j.Logs {
		fmt.Fprintf(&b, "input(type=\"imfile\" file=%q tag=\"bench\")\n", glob)
	}
	if j.Records {
		b.WriteString("action(type=\"mmjsonparse\" cookie=\"\")\n")
	}
	fmt.Fprintf(&b, `action(type="omelasticsearch" server=%q serverport=%q template="doc" searchIndex="bench" searchType="" bulkmode="on")`+"\n", host, port)
	return command{
		argv:   []string{filepath.Join(root, "usr/sbin/rsyslogd"), "-n", "-f", j.config(), "-i", filepath.Join(j.Dir, "pid"), "-M", modules},
		env:    env,
		config: b.String(),
	}
}

// syslogNG sends a request a line, and reads 100 files, unless it is told otherwise. Its window
// is divided by the number of files, and each should have room for the lines of a request.
func syslogNG(root string, j Job) command {
	env, modules := libraries(root, "syslog-ng/[0-9]*")
	parse, message := "", "$MESSAGE"
	if j.Records {
		parse, message = "parser { json-parser(prefix(\".record.\")); }; ", "${.record.log}"
	}
	var sources strings.Builder
	for _, glob := range j.Logs {
		fmt.Fprintf(&sources, " wildcard-file(base-dir(%q) filename-pattern(%q) flags(no-parse) max-files(2000) log-iw-size(20000000));", filepath.Dir(glob), filepath.Base(glob))
	}
	in := func(name string) string { return filepath.Join(j.Dir, name) }
	return command{
		argv: []string{
			filepath.Join(root, "usr/sbin/syslog-ng"), "-F", "--no-caps", "-f", j.config(), "--module-path", modules,
			"--persist-file", in("persist"), "--pidfile", in("pid"), "--control", in("control"),
		},
		env: env,
		config: fmt.Sprintf(`@version: 3.35
source logs {%s };
destination server { http(url(%q) method("POST") body("$(format-json message=%s)") delimiter("\n") batch-lines(1000)); };
log { source(logs); %sdestination(server); flags(flow-control); };
`, sources.String(), "http://"+j.Server+null.PathNDJSON, message, parse),
	}
}
