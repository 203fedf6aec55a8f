import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;

/** The web service of @NAME@: {@code java -jar app.jar PORT VERSION}. */
public final class App {
    /** The answer to a request for that path, null if there is no such page. */
    static String answer(String path, String version, String host) {
        switch (path) {
            case "/":
                return String.format(
                    "{\"application\": \"@NAME@\", \"version\": \"%s\", \"host\": \"%s\"}",
                    version, host);
            case "/health":
                return String.format("{\"version\": \"%s\"}", version);
            default:
                return null;
        }
    }

    public static void main(String[] arguments) throws IOException {
        int port = Integer.parseInt(arguments[0]);
        String version = arguments[1];
        String host = InetAddress.getLocalHost().getHostName();
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 128);
        server.createContext("/", exchange -> {
            String said = answer(exchange.getRequestURI().getPath(), version, host);
            byte[] body = (said == null ? "{\"error\": \"no such page\"}" : said)
                .getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().set("Content-Type", "application/json");
            exchange.sendResponseHeaders(said == null ? 404 : 200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
    }
}
