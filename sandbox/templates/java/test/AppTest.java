/** Tests of App, by hand: `java -cp classes AppTest`. */
final class AppTest {
    public static void main(String[] arguments) {
        expect(App.answer("/", "1.2.3", "here").contains("\"version\": \"1.2.3\""));
        expect(App.answer("/health", "1.2.3", "here").equals("{\"version\": \"1.2.3\"}"));
        expect(App.answer("/nowhere", "1.2.3", "here") == null);
    }

    private static void expect(boolean holds) {
        if (!holds) {
            throw new AssertionError();
        }
    }
}
