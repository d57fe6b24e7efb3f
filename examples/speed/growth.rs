pub fn run() -> super::Result<()> {
    Ok(())
}
